"""`support-bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from storage.clock import utc_now


def support_bundle(
    out: Annotated[Path, typer.Argument(help="A new zip file.")],
    log: Annotated[
        list[Path] | None, typer.Option(help="A log file whose last 2 MB are put in; may be repeated.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Gather versions, settings, checks, health, metrics and counts for whoever helps, without patients and secrets."""
    from dicom_node.logs import configure_logging
    from dicom_node.store import open_store
    from dicom_node.support import write_bundle

    loaded = configuration(config)
    configure_logging("error", "support-bundle")
    store = open_store(loaded)
    folder = loaded.logging.folder
    logs = [*(log or ()), *(sorted(folder.glob("*.log")) if folder is not None and folder.is_dir() else ())]
    removed = write_bundle(loaded, store, out, logs, utc_now)
    store.database.close()
    typer.echo(f"{out}: {out.stat().st_size / 1e3:.0f} kB; {removed} words of patients were found and taken out")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("support-bundle")(support_bundle)
