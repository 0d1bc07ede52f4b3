"""`sbom`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ModelsOption, models_folder
from storage.clock import utc_now


def sbom(
    out: Annotated[Path | None, typer.Option(help="A file; left out: standard output.")] = None,
    models: ModelsOption = None,
) -> None:
    """Write the parts list of this installation as CycloneDX JSON: packages, model files, scripts of the page."""
    import web
    from dicom_node.sbom import bill_of_materials

    vendored = Path(web.__file__).parent / "static" / "vendor"
    text = json.dumps(bill_of_materials(models_folder(models), vendored, utc_now()), indent=1)
    if out is None:
        typer.echo(text)
        return
    out.write_text(text, encoding="utf-8")
    typer.echo(f"{out}: {text.count('bom-ref')} parts")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sbom)
