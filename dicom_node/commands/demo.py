"""`demo`: the whole job once, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ModelsOption, models_folder
from dicom_node.logs import configure_logging


def demo(
    base: Annotated[Path, typer.Option("--folder", help="Where the demonstration's folder is made.")] = Path("var"),
    models: ModelsOption = None,
) -> None:
    """Start a node and a receiving PACS on loopback, send a synthetic study, show what came back."""
    from dicom_node.demo import demo_folder, run_demo

    configure_logging("error", "demo")
    run_demo(demo_folder(base), models_folder(models), typer.echo)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
