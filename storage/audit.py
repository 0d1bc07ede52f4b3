"""What happened: rows that are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.audit_chain import AUDIT_PREFIX, ChainReport, add_sealed, verify
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
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrailFilter:
    """Which entries of the audit trail; None means any. `action` is the kind without `audit.`."""

    action: str | None = None
    username: str | None = None
    scan_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditRepository:
    """The events."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def append(
        self, kind: str, text: str, *, scan_id: str | None = None, data: dict[str, Any] | None = None
    ) -> EventRow:
        """Add one event; one of the audit trail is sealed. Control characters in `text` are escaped."""
        add = add_sealed if kind.startswith(AUDIT_PREFIX) else add_event

        def work(session: Session) -> EventRow:
            event = add(session, scan_id, kind, text, self._clock(), data)
            session.flush()
            return detached(EventRow, event)

        return self._database.run(work)

    def verify(self, expected_sha256: str | None = None) -> ChainReport:
        """Check the audit trail's seals; see `storage.audit_chain`."""
        return verify(self._database, expected_sha256)

    def trail(
        self,
        filters: TrailFilter | None = None,
        *,
        before_id: int | None = None,
        after_id: int = 0,
        limit: int = 200,
        oldest_first: bool = False,
    ) -> list[EventRow]:
        """Entries of the audit trail between two ids (neither included), the newest first or the oldest.

        Raises:
            InvalidQuery: a limit outside 1..1000.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidQuery(f"limit must be between 1 and {MAX_LIMIT}", "limit")
        wanted = filters or TrailFilter()
        query = select(Event).where(Event.kind.startswith(AUDIT_PREFIX))
        if wanted.action is not None:
            query = query.where(Event.kind == AUDIT_PREFIX + wanted.action)
        if wanted.username is not None:
            query = query.where(Event.data["username"].as_string() == wanted.username)
        if wanted.scan_id is not None:
            query = query.where(Event.scan_id == wanted.scan_id)
        if wanted.since is not None:
            query = query.where(Event.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(Event.at < wanted.until)
        if before_id is not None:
            query = query.where(Event.id < before_id)
        query = query.where(Event.id > after_id)
        query = query.order_by(Event.id.asc() if oldest_first else Event.id.desc()).limit(limit)
        with self._database.read() as session:
            return [detached(EventRow, event) for event in session.scalars(query)]

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
