"""`export`: results of scans as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.logs import configure_logging

FORMATS_HELP = "json, csv, parquet, nifti, stl, obj, glb, fhir, hl7, research; may be repeated."


def export(
    scans: Annotated[list[str], typer.Argument(metavar="SCAN...", help="Ids of scans, as the page shows them.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    formats: Annotated[list[str], typer.Option("--format", "-f", help=FORMATS_HELP)] = ["json", "csv"],  # noqa: B006 (typer reads it once)
    config: ConfigOption = None,
) -> None:
    """Write results of scans in other formats. All but `research` hold what identifies the patient."""
    from dicom_node.exports.content import read_scan
    from dicom_node.exports.formats import export as write
    from dicom_node.store import open_store

    configure_logging("error", "export")
    store = open_store(configuration(config))
    found = [read_scan(scan_id, store.scans, store.studies, store.files) for scan_id in scans]
    for path in write(found, formats, out):
        typer.echo(f"wrote {path}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)
