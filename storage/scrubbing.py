"""Files at rest against their rows: which to read next, and what a row says once its file is found changed or gone.

A received image that is damaged is treated as removed: its row stays, its bytes are known when they come again. What
is left of the file is kept under `conflicts/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.retention_tables import Removal, RemovedInstance
from storage.rows import detached
from storage.scrub_tables import ScrubPass
from storage.tables import Event, Instance, ResultObject, Run, Scan, Series
from storage.transitions import add_event, locked_scan

#: The kind of a scan's event that says one of its files is damaged.
DAMAGED = "file-damaged"
REPAIRED = "file-repaired"
_WHY = "found damaged at rest"


class Kept(StrEnum):
    """What a file at rest is."""

    RECEIVED = "received"
    RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """One file as its row has it. owner: of a received image the row of its study, of a result its run's id."""

    kind: Kept
    id: int
    path: str
    size: int
    sha256: str
    scan_id: str | None
    owner: int | str


@dataclass(frozen=True, kw_only=True)
class PassRow:
    """How far a kind has come, see `ScrubPass`."""

    kind: str
    after_id: int
    files: int
    bytes: int
    begun_at: datetime
    last_ended_at: datetime | None


class ScrubRepository:
    """The order of reading, and what comes of it."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def total(self, kind: Kept) -> int:
        """How many files of a kind are at rest."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(_files(kind, 0).subquery())) or 0

    def passes(self) -> list[PassRow]:
        """How far each kind has come; none before the first was begun."""
        with self._database.read() as session:
            return [detached(PassRow, row) for row in session.scalars(select(ScrubPass).order_by(ScrubPass.kind))]

    def next_files(self, kind: Kept, most: int) -> list[KeptFile]:
        """The next files to read, to one caller only; none when the pass is at its end: the next call begins anew."""

        def work(session: Session) -> list[KeptFile]:
            row = session.get(ScrubPass, kind.value, with_for_update=True)
            if row is None:
                row = ScrubPass(kind=kind.value, begun_at=self._clock(), after_id=0, files=0, bytes=0)
                session.add(row)
            if row.after_id == 0:
                row.begun_at, row.files, row.bytes = self._clock(), 0, 0
            found = [KeptFile(kind=kind, **one) for one in session.execute(_files(kind, row.after_id, most)).mappings()]
            if not found:
                row.after_id, row.last_ended_at = 0, self._clock()
            else:
                row.after_id = found[-1].id
                row.files += len(found)
                row.bytes += sum(one.size for one in found)
            return found

        return self._database.run(work)

    def image_damaged(self, file: KeptFile, aside: str, text: str) -> int | None:
        """Note that a received image is not what it was; the removal to carry out.

        None where it was removed meanwhile, or came again and lies elsewhere.

        Args:
            aside: the relative path of what is left of it, '' for nothing.
        """

        def work(session: Session) -> int | None:
            if file.scan_id is not None:
                locked_scan(session, file.scan_id)
            if session.get(RemovedInstance, file.id, with_for_update=True) is not None:
                return None
            if session.scalar(select(Instance.path).where(Instance.id == file.id).with_for_update()) != file.path:
                return None
            removal = Removal(study_id=file.owner, begun_at=self._clock(), instances=1, bytes=file.size, why=_WHY)
            session.add(removal)
            session.flush()
            session.add(RemovedInstance(instance_id=file.id, removal_id=removal.id))
            add_event(session, file.scan_id, DAMAGED, text, self._clock(), {"path": file.path, "aside": aside})
            return removal.id

        return self._database.run(work)

    def result_damaged(self, file: KeptFile, text: str) -> None:
        """Note that a result object is not what it was."""
        self._event(file, DAMAGED, text)

    def repaired(self, file: KeptFile, text: str) -> None:
        """Note that it is again."""
        self._event(file, REPAIRED, text)

    def damaged_files(self) -> int:
        """How many files were ever found damaged."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(Event).where(Event.kind == DAMAGED)) or 0

    def missing_images(self) -> int:
        """How many received images found damaged have not come again."""
        query = (
            select(func.count())
            .select_from(RemovedInstance)
            .join(Removal, Removal.id == RemovedInstance.removal_id)
            .where(Removal.why == _WHY)
        )
        with self._database.read() as session:
            return session.scalar(query) or 0

    def _event(self, file: KeptFile, kind: str, text: str) -> None:
        self._database.run(
            lambda session: add_event(session, file.scan_id, kind, text, self._clock(), {"path": file.path})
        )


def _files(kind: Kept, after_id: int, most: int | None = None) -> Select[Any]:
    return (_images() if kind is Kept.RECEIVED else _results()).where(_ID[kind] > after_id).limit(most)


_ID = {Kept.RECEIVED: Instance.id, Kept.RESULT: ResultObject.id}


def _images() -> Select[Any]:
    columns: list[Any] = [
        Instance.id,
        Instance.path,
        Instance.size,
        Instance.sha256,
        Scan.id.label("scan_id"),
        Series.study_id.label("owner"),
    ]
    return (
        select(*columns)
        .join(Series, Instance.series_id == Series.id)
        .outerjoin(Scan, Scan.study_id == Series.study_id)
        .outerjoin(RemovedInstance, RemovedInstance.instance_id == Instance.id)
        .where(RemovedInstance.instance_id.is_(None))
        .order_by(Instance.id)
    )


def _results() -> Select[Any]:
    columns: list[Any] = [
        ResultObject.id,
        ResultObject.path,
        ResultObject.size,
        ResultObject.sha256,
        Run.scan_id,
        ResultObject.run_id.label("owner"),
    ]
    return select(*columns).join(Run, ResultObject.run_id == Run.id).order_by(ResultObject.id)
