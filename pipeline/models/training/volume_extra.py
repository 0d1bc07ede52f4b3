"""Extra labelled cases for training: one folder a case of NIfTI named as BraTS names them, skull on or off."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.brain_mask import MASK_ORDER, best_brain_mask, brain_mask
from pipeline.case_files import CaseFiles, case_folders, find_case_files
from pipeline.errors import InvalidVolume, PipelineError
from pipeline.evaluation.volumes import brats_labels
from pipeline.geometry import resample
from pipeline.models.training.volume_cases import TrainingCase, ras_spacing, regions_of, to_ras, zscore
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, Grid, SeriesRole, Volume

#: A brain mask that holds less of the tumour than this taught the network to overlook it.
_TUMOUR_IN_MASK = 0.95


def load_extra_cases(folder: Path) -> list[TrainingCase]:
    """Every usable case below `folder`, 'extra' or 'extra-healthy'; others are named on the terminal with a reason."""
    cases = []
    for path in case_folders(folder):
        try:
            cases.append(load_extra_case(path))
        except PipelineError as error:
            print(f"left out: {error}", flush=True)
    return cases


def load_extra_case(folder: Path) -> TrainingCase:
    """One case: its four (or fewer) series, which must lie in one position, and its BraTS labels.

    Where the skull is still on, the brain is told from it as the pipeline does, so that training sees the same
    imperfect masks.

    Raises:
        InvalidVolume: no label map, labels on another grid than the reference series, no brain found around
            the tumour, or an unreadable file.
    """
    files = find_case_files(folder)
    if files.labels is None:
        raise InvalidVolume(f"{folder.name}: no label map (a file whose name ends in _seg)")
    reference = next(role for role in REFERENCE_ORDER if role in files.images)
    volumes = _on_one_grid(files, reference)
    values, label_grid = load_nifti_labels(files.labels)
    if not label_grid.same_as(volumes[reference].grid):
        raise InvalidVolume(f"{folder.name}: the label map is not on the grid of {reference.value}; resample it")
    labels = brats_labels(values)
    kind = "extra" if labels.any() else "extra-healthy"
    return masked_case(folder.name, kind, volumes, labels, core_known=SeriesRole.T1CE in volumes)


def masked_case(
    name: str, kind: str, volumes: Mapping[SeriesRole, Volume], labels: NDArray[np.uint8], *, core_known: bool
) -> TrainingCase:
    """The brain's box of series on one grid, z-scored in the brain that the pipeline finds.

    labels: uint8 (I, J, K), BraTS labels on that grid. core_known: they tell TC and ET, not the whole tumour alone.

    Raises:
        InvalidVolume: no brain found around the tumour.
    """
    grid = next(iter(volumes.values())).grid
    mask = _brain(name, volumes, labels > 0)
    image = np.stack(
        [
            zscore(volumes[role].voxels, mask) if role in volumes else np.zeros(grid.shape, np.float16)
            for role in CHANNEL_ORDER
        ]
    )
    box = tuple(slice(int(hit.min()), int(hit.max()) + 1) for hit in np.nonzero(mask))
    return TrainingCase(
        name=name,
        kind=kind,
        image=np.asarray(to_ras(image[(slice(None), *box)], grid.affine), dtype=np.float16),
        present=np.array([role in volumes for role in CHANNEL_ORDER]),
        regions=np.asarray(to_ras(regions_of(labels)[(slice(None), *box)], grid.affine), dtype=np.uint8),
        known=np.array([True, core_known, core_known]),
        spacing_mm=ras_spacing(grid.affine),
    )


def _on_one_grid(files: CaseFiles, reference: SeriesRole) -> dict[SeriesRole, Volume]:
    grid: Grid = load_nifti_volume(files.images[reference]).grid
    return {role: resample(load_nifti_volume(path), grid) for role, path in files.images.items()}


def _brain(name: str, volumes: Mapping[SeriesRole, Volume], tumour: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask that the node finds; where it lacks the tumour, that of the first series, best first, which holds it."""
    present = [volumes[role] for role in MASK_ORDER if role in volumes]
    masks = itertools.chain((best_brain_mask(present),), map(brain_mask, present))
    for mask in (found > 0 for found in masks):
        if mask.any() and (mask & tumour).sum() >= _TUMOUR_IN_MASK * tumour.sum():
            return mask
    raise InvalidVolume(f"{name}: in no series does the brain found hold the tumour")
