"""The last condition of each listener, for the health page and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.database import Database
from storage.edge_tables import Receiver
from storage.rows import detached


@dataclass(frozen=True, kw_only=True)
class ReceiverRow:
    """name: of the listener's folder. backlog_bytes: received and not yet indexed. pressure: why it refuses, or ''."""

    name: str
    at: datetime
    associations: int
    backlog_bytes: int
    pressure: str


class ReceiverRepository:
    """Listeners, each writing its own row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, row: ReceiverRow) -> None:
        """Keep the condition of a listener as it is now. Raises StorageError."""

        def write(session: Session) -> None:
            found = session.get(Receiver, row.name)
            if found is None:
                found = Receiver(name=row.name)
                session.add(found)
            found.at, found.associations = row.at, row.associations
            found.backlog_bytes, found.pressure = row.backlog_bytes, one_line(row.pressure, 300)

        self._database.run(write)

    def all(self) -> list[ReceiverRow]:
        """Every listener there ever was, by name. Raises StorageError."""
        with self._database.read() as session:
            return [detached(ReceiverRow, row) for row in session.scalars(select(Receiver).order_by(Receiver.name))]
