"""`conformance`: the DICOM conformance statement of this node as it is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration


def conformance(
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output where not given.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write the DICOM conformance statement (PS3.2) of the node as it is configured."""
    from dicom_node.conformance.statement import statement

    text = statement(configuration(config))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(conformance)
