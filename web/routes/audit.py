"""GET /api/audit: the audit trail, for administrators; each look at it is an entry too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from storage.audit import TrailFilter
from web.audit_entries import AuditEntry, audit_entry
from web.audit_message import audit_message
from web.context import WebContext
from web.dependencies import AdminOnly, Context
from web.problems import Problem, documented
from web.schema_base import Schema
from web.trail import record, record_view

router = APIRouter(prefix="/api/audit", tags=["administration"])

_BLOCK = 1000
_EXPORTS = {"jsonl": "application/x-ndjson", "dicom": "application/xml"}
_EXPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in _EXPORTS.values()}}
}

EntryId = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Word = Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00-\x1f]*$")]


class AuditPage(Schema):
    """Entries, the newest first; `nextBefore` leads to the next page, null at the end."""

    items: list[AuditEntry]
    next_before: int | None


class AuditCheck(Schema):
    """What a check of every seal found."""

    ok: bool
    sealed: int
    unsealed: int
    last_sha256: str
    fault: str


def _filters(
    action: str | None, username: str | None, scan_id: str | None, since: datetime | None, until: datetime | None
) -> TrailFilter:
    if any(at is not None and at.tzinfo is None for at in (since, until)):
        raise Problem(422, "invalid-query", "A time needs a time zone, as in 2026-01-31T08:00:00Z.")
    return TrailFilter(action=action, username=username, scan_id=scan_id, since=since, until=until)


@router.get("", responses=documented(401, 403, 422))
def list_audit(
    request: Request,
    context: Context,
    admin: AdminOnly,
    before: Annotated[EntryId, Query(description="nextBefore of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    action: Annotated[Word, Query(examples=["view-scan"])] = None,
    username: Word = None,
    scan_id: Annotated[Word, Query(alias="scanId")] = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AuditPage:
    """List the audit trail, the newest entry first."""
    rows = context.audit.trail(_filters(action, username, scan_id, since, until), before_id=before, limit=limit + 1)
    record_view(context, request, "read-audit", user=admin.user)
    more = len(rows) > limit
    return AuditPage(items=[audit_entry(row) for row in rows[:limit]], next_before=rows[limit - 1].id if more else None)


@router.get("/verify", responses=documented(401, 403, 422))
def verify_audit(
    context: Context,
    _admin: AdminOnly,
    expected: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$", description="A seal kept elsewhere.")] = None,
) -> AuditCheck:
    """Check that no entry was changed, taken out or put in."""
    report = context.audit.verify(expected)
    return AuditCheck(
        ok=report.ok,
        sealed=report.sealed,
        unsealed=report.unsealed,
        last_sha256=report.last_sha256,
        fault=report.fault,
    )


@router.get("/export", response_class=StreamingResponse, responses=_EXPORT | documented(401, 403, 422))
def export_audit(
    request: Request,
    context: Context,
    admin: AdminOnly,
    format: Annotated[Literal["jsonl", "dicom"], Query(description="JSON lines, or DICOM audit messages.")] = "jsonl",
    after: EntryId = None,
    action: Word = None,
    username: Word = None,
    scan_id: Annotated[Word, Query(alias="scanId")] = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> StreamingResponse:
    """Export the audit trail, the oldest entry first: a JSON object or a DICOM audit message (PS3.15 A.5) a line."""
    filters = _filters(action, username, scan_id, since, until)
    record(context, request, "read-audit", user=admin.user, format=format)
    lines = exported(context, filters, format, after or 0)
    name = {"Content-Disposition": f'attachment; filename="audit.{"jsonl" if format == "jsonl" else "xml"}"'}
    return StreamingResponse(lines, media_type=_EXPORTS[format], headers=name)


def exported(context: WebContext, filters: TrailFilter, format: str, after: int) -> Iterator[str]:
    """Yield the trail line by line."""
    if format == "dicom":
        yield '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n'
    last = after
    while rows := context.audit.trail(filters, after_id=last, oldest_first=True, limit=_BLOCK):
        for row in rows:
            if format == "dicom":
                yield audit_message(row, source_id=context.settings.node_name) + "\n"
            else:
                yield json.dumps(audit_entry(row).model_dump(mode="json", by_alias=True)) + "\n"
        last = rows[-1].id
    if format == "dicom":
        yield "</AuditMessages>\n"
