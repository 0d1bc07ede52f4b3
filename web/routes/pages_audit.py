"""The page of the audit trail: filtered, a page at a time, with links to its export."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from storage.audit import TrailFilter
from web.audit_entries import audit_entry
from web.dependencies import Context
from web.pages import AdminVisitor, render
from web.problems import Problem
from web.trail import Action, record_view

router = APIRouter(include_in_schema=False)

_ROWS_A_PAGE = 50

Word = Annotated[str, Query(max_length=100, pattern=r"^[^\x00-\x1f]*$")]


@router.get("/audit")
def audit(
    request: Request,
    context: Context,
    session: AdminVisitor,
    action: Word = "",
    username: Word = "",
    scan_id: Annotated[str, Query(alias="scanId", max_length=64, pattern=r"^[^\x00-\x1f]*$")] = "",
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """Show the audit trail, the newest entry first; looking at it is an entry too."""
    since, until = _midnight(first), _midnight(last, days=1)
    wanted = TrailFilter(
        action=action or None,
        username=username.strip() or None,
        scan_id=scan_id.strip() or None,
        since=since,
        until=until,
    )
    rows = context.audit.trail(wanted, before_id=before, limit=_ROWS_A_PAGE + 1)
    record_view(context, request, "read-audit", user=session.user)
    asked = {"action": action, "username": username, "scanId": scan_id, "from": first, "to": last}
    given = {name: value for name, value in asked.items() if value}
    export = {name: value for name, value in given.items() if name not in ("from", "to")}
    export |= {name: at.isoformat() for name, at in (("since", since), ("until", until)) if at is not None}
    more = len(rows) > _ROWS_A_PAGE
    return render(
        request,
        context,
        "audit.html",
        session,
        here="audit",
        entries=[audit_entry(row) for row in rows[:_ROWS_A_PAGE]],
        actions=sorted(get_args(Action)),
        asked=asked,
        first_url="/audit?" + urlencode(given) if before else None,
        next_url="/audit?" + urlencode({**given, "before": rows[_ROWS_A_PAGE - 1].id}) if more else None,
        exports=[(f"/api/audit/export?{urlencode({**export, 'format': form})}", form) for form in ("jsonl", "dicom")],
    )


def _midnight(day: str, *, days: int = 0) -> datetime | None:
    """The beginning of a day in UTC, `days` later; None for ''."""
    if not day:
        return None
    try:
        return datetime.combine(date.fromisoformat(day) + timedelta(days=days), time(), UTC)
    except (ValueError, OverflowError):
        raise Problem(422, "invalid-query", "Give a date as 2026-01-31.") from None
