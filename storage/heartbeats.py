"""Signs of life of the processes, so that the living take over the work of the dead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.rows import detached
from storage.tables import Heartbeat


@dataclass(frozen=True, kw_only=True)
class HeartbeatRow:
    """The last sign of life of one process."""

    executor_id: str
    role: str
    at: datetime


class HeartbeatRepository:
    """Heartbeats by stable executor id."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def beat(self, executor_id: str, role: str = "") -> None:
        """I am alive."""
        self._database.run(lambda session: self._beat(session, executor_id, role))

    def _beat(self, session: Session, executor_id: str, role: str) -> None:
        found = session.get(Heartbeat, executor_id, with_for_update=True)
        if found is None:
            session.add(Heartbeat(executor_id=executor_id, role=role, at=self._clock()))
        else:
            found.role, found.at = role, self._clock()

    def all(self) -> list[HeartbeatRow]:
        """Every process known, by id."""
        query = select(Heartbeat).order_by(Heartbeat.executor_id)
        with self._database.read() as session:
            return [detached(HeartbeatRow, row) for row in session.scalars(query)]

    def stale(self, older_than: timedelta) -> list[HeartbeatRow]:
        """Processes silent for longer than `older_than`, longest silent first."""
        before = self._clock() - older_than
        query = select(Heartbeat).where(Heartbeat.at < before).order_by(Heartbeat.at, Heartbeat.executor_id)
        with self._database.read() as session:
            return [detached(HeartbeatRow, row) for row in session.scalars(query)]

    def forget(self, executor_id: str, seen_at: datetime | None = None) -> bool:
        """Remove a process that ended, or was taken over. True for the one caller that removed it.

        Args:
            seen_at: the time at which it was found stale; where it has beaten since, it stays.
        """
        with self._database.write() as session:
            found = session.get(Heartbeat, executor_id, with_for_update=True)
            if found is None or (seen_at is not None and found.at != seen_at):
                return False
            session.delete(found)
            return True
