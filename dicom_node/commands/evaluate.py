"""`evaluate slices` and `evaluate volumes`: a hospital's acceptance test on its own labelled data before go-live."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from dicom_node.commands.options import ModelsOption, models_folder, one_off_options
from dicom_node.errors import Permanent
from dicom_node.logs import configure_logging
from pipeline.models.protocols import Models
from pipeline.report import Segmentation, Skipped
from pipeline.volume import SeriesRole, Volume

evaluate = typer.Typer(help="Acceptance test of the models on your own labelled data.", no_args_is_help=True)

_OutOption = Annotated[Path, typer.Option("--out", help="Folder for evaluation.json.")]


class ModelNeeded(Permanent):
    """The evaluation needs a model that cannot be used."""

    code = "model-needed"


@evaluate.command()
def slices(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Class folders of images; manifest.csv is optional.")],
    out: _OutOption,
    models: ModelsOption = None,
) -> None:
    """Detection and type on class folders glioma/ meningioma/ pituitary/ notumor/ tumor_unspecified/."""
    from pipeline.evaluation.slice_table import slice_table
    from pipeline.evaluation.slices import evaluate_slices

    asked = ("detection", "type")
    loaded = _load(models, asked)
    if loaded.detector is None or loaded.type_classifier is None:
        raise ModelNeeded("; ".join(reason for task, reason in loaded.unavailable.items() if task in asked))
    detector, type_classifier = loaded.detector, loaded.type_classifier
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("slices", total=1.0)
        figures = evaluate_slices(folder, detector, type_classifier, lambda share: bar.update(task, completed=share))
    typer.echo(slice_table(figures))
    _write(out, figures)


@evaluate.command()
def volumes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="One folder a case, NIfTI named as BraTS does.")],
    out: _OutOption,
    models: ModelsOption = None,
) -> None:
    """Segmentation on labelled NIfTI cases: Dice, HD95 and volume error per region and case."""
    from pipeline.analysis import analyse
    from pipeline.evaluation.volumes import evaluate_volumes
    from pipeline.evaluation.volumes_table import render_volumes_table

    loaded = _load(models, ("segmentation",))
    if loaded.segmenter is None:
        raise ModelNeeded(loaded.unavailable["segmentation"])
    alone = Models.of(segmenter=loaded.segmenter, unavailable={"detection": "not asked for", "type": "not asked for"})

    def segment_case(case: Mapping[SeriesRole, Volume]) -> Segmentation | Skipped:
        return analyse(case, alone).segmentation

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("cases", total=1.0)
        figures = evaluate_volumes(folder, segment_case, lambda share: bar.update(task, completed=share))
    typer.echo(render_volumes_table(figures))
    _write(out, figures)


def _load(models: Path | None, tasks: Sequence[str]) -> Models:
    from pipeline.models.catalogue import load_models

    configure_logging("error", "evaluate")
    return load_models(models_folder(models), one_off_options(), tasks)[0]


def _write(out: Path, figures: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "evaluation.json"
    path.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    typer.echo(f"wrote {path}")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(evaluate, name="evaluate")
