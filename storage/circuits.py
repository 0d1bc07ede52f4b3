"""The circuit of each destination: closed while it takes what it is sent, open while it is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.database import Database
from storage.outward_tables import Circuit
from storage.rows import detached


@dataclass(frozen=True, kw_only=True)
class CircuitRow:
    """refusals: in a row. opened_at: since when it is left alone, None while closed. trial_at: when one is tried."""

    destination: str
    refusals: int = 0
    opened_at: datetime | None = None
    trial_at: datetime | None = None
    last_error: str = ""

    @property
    def open(self) -> bool:
        """True where the destination is left alone."""
        return self.opened_at is not None


class CircuitRepository:
    """Circuits, kept over restarts and shared by workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, destination: str) -> CircuitRow:
        """The circuit; one that was never written is closed."""
        with self._database.read() as session:
            found = session.get(Circuit, destination)
            return CircuitRow(destination=destination) if found is None else detached(CircuitRow, found)

    def all(self) -> list[CircuitRow]:
        """Every circuit that was ever written, by name."""
        with self._database.read() as session:
            return [detached(CircuitRow, row) for row in session.scalars(select(Circuit).order_by(Circuit.destination))]

    def put(self, row: CircuitRow) -> None:
        """Keep a circuit as it is now."""

        def write(session: Session) -> None:
            found = session.get(Circuit, row.destination, with_for_update=True)
            if found is None:
                found = Circuit(destination=row.destination)
                session.add(found)
            found.refusals, found.last_error = row.refusals, one_line(row.last_error)
            found.opened_at, found.trial_at = row.opened_at, row.trial_at

        self._database.run(write)

    def take_trial(self, destination: str, now: datetime, next_trial_at: datetime) -> bool:
        """Take the one trial that is due. True for one caller; the others wait for the next."""
        with self._database.write() as session:
            found = session.get(Circuit, destination, with_for_update=True)
            if found is None or found.trial_at is None or found.trial_at > now:
                return False
            found.trial_at = next_trial_at
            return True

    def try_now(self, destination: str, now: datetime) -> None:
        """Bring an open circuit's trial forward: a person asked for it."""
        with self._database.write() as session:
            found = session.get(Circuit, destination, with_for_update=True)
            if found is not None and found.trial_at is not None:
                found.trial_at = now
