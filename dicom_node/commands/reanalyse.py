"""`reanalyse`: have old studies analysed by the models of today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration


def reanalyse(
    since: Annotated[datetime | None, typer.Option(help="Only studies received from this time on, UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, less those that wait already.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name them, ask for nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Ask for the analysis of delivered studies that another version of a model answered than is active now."""
    from dicom_node.models_status import installed_models
    from dicom_node.store import open_store
    from storage.outdated import outdated_scans, waiting_analyses
    from storage.vocabulary import RequestKind

    store = open_store(configuration(config))
    active: dict[str, frozenset[str]] = {}
    for model in installed_models(store.files):
        if model.ok and model.mode != "shadow":
            active[model.task] = active.get(model.task, frozenset()) | {model.sha256}
    room = limit if dry_run else max(0, limit - waiting_analyses(store.database))
    at = None if since is None else since.replace(tzinfo=UTC)
    found = outdated_scans(store.database, active, at, room) if room else []
    for scan in found:
        if not dry_run:
            store.requests.add(scan.scan_id, RequestKind.RETRY)
        typer.echo(f"{scan.scan_id}: {', '.join(scan.tasks)} by another model, received {scan.received_at:%Y-%m-%d}")
    store.database.close()
    typer.echo(f"{len(found)} studies {'would be' if dry_run else 'are'} analysed again")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reanalyse)
