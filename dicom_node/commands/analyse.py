"""`analyse`: one study without a node."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dicom_node.commands.options import ModelsOption, models_folder, one_off_options
from dicom_node.logs import configure_logging
from dicom_node.summary import summary_lines
from pipeline.models.protocols import Models
from pipeline.report import Stage


def analyse(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Folder of DICOM, or of NIfTI named by role.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    models: ModelsOption = None,
) -> None:
    """Analyse one study: report.json, segmentation.nii.gz (0, 1, 2, 4), and SEG and SR where the input was DICOM."""
    from dicom_node.offline import analyse_folder
    from pipeline.models.catalogue import ModelStatus, load_models

    configure_logging("error", "analyse")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("models", total=len(Stage))
        stages = list(Stage)
        statuses: list[ModelStatus] = []

        def load() -> Models:
            loaded, told = load_models(models_folder(models), one_off_options())
            statuses.extend(told)
            return loaded

        def show(stage: Stage, share: float) -> None:
            bar.update(task, description=str(stage), completed=stages.index(stage) + share)

        result = analyse_folder(source, out, load, version("brain-tumor-node"), show)
        bar.update(task, completed=len(Stage))
    for status in statuses:
        if not status.ok:
            typer.echo(f"model not usable: {status.detail}", err=True)
    for line in summary_lines(result.report):
        typer.echo(line)
    for path in result.files:
        typer.echo(f"wrote {path}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(analyse)
