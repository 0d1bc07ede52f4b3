"""What happened: rows that are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import InvalidQuery
from storage.rows import detached
from storage.tables import Event
from storage.transitions import add_event

MAX_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """One event. `kind` is a word (for a change of state the event's name), `text` one line for people."""

    id: int
    scan_id: str | None
    at: datetime
    kind: str
    text: str
    data: dict[str, Any]


class AuditRepository:
    """The events."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def append(
        self, kind: str, text: str, *, scan_id: str | None = None, data: dict[str, Any] | None = None
    ) -> EventRow:
        """Add one event. Line breaks and other control characters in `text` are escaped."""
        with self._database.write() as session:
            event = add_event(session, scan_id, kind, text, self._clock(), data)
            session.flush()
            return detached(EventRow, event)

    def list(
        self,
        *,
        scan_id: str | None = None,
        kind: str | None = None,
        after_id: int = 0,
        limit: int = 200,
        newest_first: bool = False,
    ) -> list[EventRow]:
        """Events in the order they happened (or the reverse), of one scan or of all, from `after_id` on.

        Raises:
            InvalidQuery: a limit outside 1..1000.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidQuery(f"limit must be between 1 and {MAX_LIMIT}", "limit")
        query = select(Event).where(Event.id > after_id)
        if scan_id is not None:
            query = query.where(Event.scan_id == scan_id)
        if kind is not None:
            query = query.where(Event.kind == kind)
        query = query.order_by(Event.id.desc() if newest_first else Event.id.asc()).limit(limit)
        with self._database.read() as session:
            return [detached(EventRow, event) for event in session.scalars(query)]
