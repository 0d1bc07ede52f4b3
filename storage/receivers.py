"""The last condition of each listener, for the health page and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.database import Database
from storage.edge_tables import Receiver
from storage.rows import detached

#: A listener writes its row every few seconds. One that is silent for longer is taken for gone.
SILENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """The associations of one calling AE title that may store.

    open_since: when the oldest open one began, None where none is. broken_at: when one last ended without a release,
    None where one that began after that was released.
    """

    open_since: datetime | None = None
    broken_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ReceiverRow:
    """name: of the listener's folder. backlog_bytes: received and not yet indexed. pressure: why it refuses, or ''.

    backlog_objects: answered and without a row yet. filed_through: all received before this time has its row; None
    where objects have their rows before they are answered. senders: by calling AE title.
    """

    name: str
    at: datetime
    associations: int
    backlog_bytes: int
    pressure: str
    backlog_objects: int = 0
    filed_through: datetime | None = None
    senders: Mapping[str, Sender] = field(default_factory=dict)


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
            found.backlog_objects, found.filed_through = row.backlog_objects, row.filed_through
            found.senders = {title: _said(sender) for title, sender in row.senders.items()}

        self._database.run(write)

    def all(self) -> list[ReceiverRow]:
        """Every listener there ever was, by name. Raises StorageError."""
        with self._database.read() as session:
            rows = session.scalars(select(Receiver).order_by(Receiver.name))
            return [detached(ReceiverRow, row, senders=_senders(row.senders or {})) for row in rows]


def _said(sender: Sender) -> dict[str, str]:
    return {name: at.isoformat() for name, at in vars(sender).items() if at is not None}


def _senders(said: Mapping[str, Mapping[str, str]]) -> dict[str, Sender]:
    return {
        title: Sender(**{name: datetime.fromisoformat(at) for name, at in times.items()})
        for title, times in said.items()
    }
