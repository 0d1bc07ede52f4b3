"""The one place that changes a scan's state, inside the caller's transaction, with the event row beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.errors import ImpossibleTransition, NotFound
from storage.lifecycle import END_STATES, ScanEvent, ScanState, next_state
from storage.tables import Event, Scan


def locked_scan(session: Session, scan_id: str) -> Scan:
    """The scan, locked until the transaction ends. Whoever locks more than one row locks the scan first.

    Raises:
        NotFound: no scan has this id.
    """
    scan = session.get(Scan, scan_id, with_for_update=True)
    if scan is None:
        raise NotFound("scan", scan_id)
    return scan


def add_event(
    session: Session, scan_id: str | None, kind: str, text: str, now: datetime, data: dict[str, Any] | None = None
) -> Event:
    """Add one row to the events. `text` is kept on one line."""
    event = Event(scan_id=scan_id, at=now, kind=kind, text=one_line(text), data=data or {})
    session.add(event)
    return event


def move(session: Session, scan: Scan, event: ScanEvent, text: str, now: datetime, data: dict[str, Any]) -> None:
    """Apply `event` to a locked scan. Where the scan reaches an end and something came late, `amend` follows at once.

    `data["error_code"]`, where given with `fail` or `reject`, is shown with `text` until the scan moves on.

    Raises:
        ImpossibleTransition: the event has no meaning in the scan's state; nothing was changed.
    """
    before = ScanState(scan.status)
    try:
        after = next_state(before, event)
    except ImpossibleTransition:
        raise ImpossibleTransition(before.value, event.value, scan.id) from None
    scan.status = after.value
    scan.updated_at = now
    scan.failed_in = before.value if after is ScanState.FAILED else None
    stopped = after in (ScanState.FAILED, ScanState.INELIGIBLE)
    scan.error_code = str(data.get("error_code", event.value)) if stopped else None
    scan.error_text = one_line(text) if stopped else None
    if after is not ScanState.ASSEMBLING:
        scan.waiting_for = ""
    if after is ScanState.DELIVERED:
        scan.progress = 100
    elif after in (ScanState.ASSEMBLING, ScanState.READY):
        scan.progress, scan.pipeline_step = 0, ""
    add_event(session, scan.id, event.value, text, now, {**data, "from": before.value, "to": after.value})
    if event is ScanEvent.AMEND:
        scan.late = False
    elif scan.late and after in END_STATES:
        move(session, scan, ScanEvent.AMEND, "a new instance had come during the run", now, {})
