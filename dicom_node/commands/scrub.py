"""`scrub`: read every file at rest now."""

from __future__ import annotations

import typer

from dicom_node.commands.options import ConfigOption, configuration
from storage.clock import utc_now


def scrub(config: ConfigOption = None) -> None:
    """Read every received image and result object and settle what is damaged. Exit code 1 where something was."""
    from dicom_node.housekeeping import scrub_of
    from dicom_node.logs import configure_logging
    from dicom_node.run_composition import build_steps, routing_of
    from dicom_node.store import open_store
    from pipeline.models.protocols import Models

    loaded = configuration(config)
    configure_logging("error", "scrub")
    store = open_store(loaded)
    steps = build_steps(loaded, store, lambda: Models.of(), routing_of(loaded))
    tally = scrub_of(loaded, store, steps.encoded_again, utc_now).all()
    store.database.close()
    for damage in tally.damages:
        typer.echo(f"{damage.path}: {damage.what}; {damage.settled}", err=True)
    typer.echo(f"{tally.files} files, {tally.bytes / 1e6:.1f} MB read: {len(tally.damages)} damaged")
    raise typer.Exit(1 if tally.damages else 0)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scrub)
