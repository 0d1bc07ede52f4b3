"""`audit verify` and `audit export`: the audit trail without the web page."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.errors import Permanent
from dicom_node.store import open_store
from storage.audit import TrailFilter

app = typer.Typer(help="The audit trail: check it, export it.", no_args_is_help=True)

_BLOCK = 1000


class AuditTrailBroken(Permanent):
    """An entry of the audit trail was changed, taken out or put in; the message says which."""

    code = "audit-trail-broken"


class Format(StrEnum):
    """How an entry is written, one a line."""

    JSONL = "jsonl"
    DICOM = "dicom"


@app.command()
def verify(
    expect: Annotated[str | None, typer.Option(help="A seal printed earlier: it must still be in the trail.")] = None,
    config: ConfigOption = None,
) -> None:
    """Check every seal and print the last one; keep it elsewhere to check against later."""
    store = open_store(configuration(config))
    report = store.audit.verify(expect)
    store.database.close()
    if not report.ok:
        raise AuditTrailBroken(report.fault)
    older = f", {report.unsealed} of an older release without seal" if report.unsealed else ""
    typer.echo(f"{report.sealed} entries hold{older}")
    typer.echo(f"last seal {report.last_sha256 or 'none yet'}")


@app.command()
def export(
    format: Annotated[Format, typer.Option(help="JSON lines, or DICOM audit messages (PS3.15 A.5).")] = Format.JSONL,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write the audit trail to standard output, the oldest entry first, one a line."""
    from datetime import UTC

    from web.audit_entries import audit_entry
    from web.audit_message import audit_message

    loaded = configuration(config)
    store = open_store(loaded)
    filters = TrailFilter(since=None if since is None else since.replace(tzinfo=UTC))
    last = 0
    while rows := store.audit.trail(filters, after_id=last, oldest_first=True, limit=_BLOCK):
        for row in rows:
            if format is Format.DICOM:
                typer.echo(audit_message(row, source_id=loaded.node.ae_title))
            else:
                typer.echo(json.dumps(audit_entry(row).model_dump(mode="json", by_alias=True)))
        last = rows[-1].id
    store.database.close()


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="audit")
