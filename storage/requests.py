"""What people ask of the worker on the dashboard: process now, try again, take this series for that role."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import NotFound
from storage.rows import detached
from storage.tables import Request, Scan
from storage.vocabulary import RequestKind


@dataclass(frozen=True, kw_only=True)
class RequestRow:
    """One request. `handled_at` is None until the worker has dealt with it."""

    id: int
    scan_id: str
    kind: RequestKind
    payload: dict[str, Any]
    user_id: int | None
    created_at: datetime
    handled_at: datetime | None


class RequestRepository:
    """Requests, pending and handled."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(
        self, scan_id: str, kind: RequestKind, payload: dict[str, Any] | None = None, *, user_id: int | None = None
    ) -> RequestRow:
        """Ask. The same request, where it is still pending, is returned: a double click asks once. Raises NotFound."""
        payload = payload or {}
        with self._database.write() as session:
            # The scan's row is locked, so that two clicks at once find one another.
            if session.get(Scan, scan_id, with_for_update=True) is None:
                raise NotFound("scan", scan_id)
            query = select(Request).where(
                Request.scan_id == scan_id, Request.kind == RequestKind(kind).value, Request.handled_at.is_(None)
            )
            same = next((request for request in session.scalars(query) if request.payload == payload), None)
            if same is None:
                same = Request(scan_id=scan_id, kind=RequestKind(kind).value, payload=payload, user_id=user_id)
                same.created_at = self._clock()
                session.add(same)
                session.flush()
            return _row(same)

    def pending(self, limit: int = 100, *, kinds: Collection[RequestKind] = tuple(RequestKind)) -> list[RequestRow]:
        """Requests of these kinds that nobody has handled, oldest first."""
        query = select(Request).where(Request.handled_at.is_(None), Request.kind.in_([kind.value for kind in kinds]))
        with self._database.read() as session:
            return [_row(request) for request in session.scalars(query.order_by(Request.id).limit(limit))]

    def of_scan(self, scan_id: str) -> list[RequestRow]:
        """Every request for a scan, oldest first."""
        query = select(Request).where(Request.scan_id == scan_id).order_by(Request.id)
        with self._database.read() as session:
            return [_row(request) for request in session.scalars(query)]

    def mark_handled(self, request_id: int) -> bool:
        """Mark it. True for the one caller that did; False where it was handled before. Raises NotFound."""
        with self._database.write() as session:
            request = session.get(Request, request_id, with_for_update=True)
            if request is None:
                raise NotFound("request", request_id)
            if request.handled_at is not None:
                return False
            request.handled_at = self._clock()
            return True


def _row(request: Request) -> RequestRow:
    return detached(RequestRow, request, kind=RequestKind(request.kind))
