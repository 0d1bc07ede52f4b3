"""`phantom`: write a synthetic study as DICOM, or BraTS-like NIfTI cases for training."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class VendorOption(StrEnum):
    """Whose habits the headers follow."""

    SIEMENS = "siemens"
    GE = "ge"
    PHILIPS = "philips"


class SkullOption(StrEnum):
    """What a NIfTI case shows around the brain."""

    STRIPPED = "stripped"
    ON = "on"
    BOTH = "both"


class SizeOption(StrEnum):
    """Matrix sizes as in the clinic, or small ones for tests."""

    STANDARD = "standard"
    SMALL = "small"


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: Annotated[int, typer.Option(help="Another seed, another head.")] = 1,
    vendor: VendorOption = VendorOption.SIEMENS,
    size: SizeOption = SizeOption.STANDARD,
    tumour: Annotated[bool, typer.Option(help="Whether the head has a tumour.")] = True,
    clutter: Annotated[bool, typer.Option(help="Also the series a real study brings along.")] = True,
    enhanced: Annotated[bool, typer.Option(help="Enhanced multi-frame objects.")] = False,
    nifti_cases: Annotated[int, typer.Option(help="Write this many BraTS-like NIfTI cases instead of a study.")] = 0,
    skull: Annotated[SkullOption, typer.Option(help="Of NIfTI cases; 'both': on for every even seed.")] = (
        SkullOption.STRIPPED
    ),
    spacing_mm: Annotated[float, typer.Option(help="Of NIfTI cases.", min=0.5, max=4.0)] = 1.0,
) -> None:
    """Write a synthetic study as DICOM, with the true labels on the T1CE grid beside it."""
    from dicom_node.phantom.nifti_cases import write_brats_case
    from dicom_node.phantom.study import make_study
    from dicom_node.phantom.write_dicom import write_study
    from pipeline.nifti import save_labels
    from pipeline.report import ModelIdentity, Segmentation

    if nifti_cases:
        for number in range(nifti_cases):
            on = skull is SkullOption.ON or (skull is SkullOption.BOTH and (seed + number) % 2 == 0)
            folder = write_brats_case(out, seed + number, spacing_mm, skull_stripped=not on, tumour=tumour)
            typer.echo(str(folder))
        return
    study = make_study(seed, vendor.value, size=size.value, tumour=tumour, clutter=clutter, enhanced=enhanced)
    written = write_study(out / "dicom", study)
    reference = next(series for series in study.series if series.role == "T1CE")
    known = ModelIdentity(name="phantom", version="truth", task="segmentation", weights_sha256="0" * 64)
    truth = Segmentation(labels=study.truth_of(reference), grid=reference.volume.grid, model=known)
    save_labels(out / "truth_t1ce.nii.gz", truth)
    for series in written:
        typer.echo(f"{series.role or series.clutter}: '{series.description}', {len(series.paths)} files")
    typer.echo(f"study {study.study_instance_uid} in {out / 'dicom'}, truth in {out / 'truth_t1ce.nii.gz'}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(phantom)
