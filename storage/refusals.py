"""Associations that were refused, counted by peer and reason; the oldest kinds are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.database import Database
from storage.edge_tables import Refusal
from storage.rows import detached

#: As many kinds are kept: a scanner that tries every title cannot fill the disk.
MOST_KINDS = 1000


@dataclass(frozen=True, kw_only=True)
class RefusalRow:
    """reason: a word. text: what a person can do about it. first_at, last_at: of `count` refusals."""

    reason: str
    calling_ae: str
    called_ae: str
    address: str
    text: str
    count: int
    first_at: datetime
    last_at: datetime


class RefusalRepository:
    """Refusals. Any number of listeners may add."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, refusals: Sequence[RefusalRow]) -> None:
        """Count these. Text is kept on one line. Raises StorageError."""
        if refusals:
            self._database.run(lambda session: _add(session, refusals))

    def newest(self, limit: int = 50) -> list[RefusalRow]:
        """The kinds last met, newest first. Raises StorageError."""
        query = select(Refusal).order_by(Refusal.last_at.desc(), Refusal.id.desc()).limit(limit)
        with self._database.read() as session:
            return [detached(RefusalRow, found) for found in session.scalars(query)]


def _add(session: Session, refusals: Sequence[RefusalRow]) -> None:
    for row in refusals:
        key = {name: one_line(getattr(row, name), 64) for name in ("reason", "calling_ae", "called_ae", "address")}
        found = session.scalars(select(Refusal).filter_by(**key).with_for_update()).one_or_none()
        if found is None:
            found = Refusal(**key, count=0, first_at=row.first_at)
            session.add(found)
        found.text, found.count, found.last_at = one_line(row.text, 300), found.count + row.count, row.last_at
        session.flush()
    kept = select(Refusal.id).order_by(Refusal.last_at.desc(), Refusal.id.desc()).limit(MOST_KINDS)
    session.execute(delete(Refusal).where(Refusal.id.not_in(kept.scalar_subquery())))
