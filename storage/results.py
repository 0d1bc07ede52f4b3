"""Result objects: the DICOM objects a run made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.rows import detached
from storage.tables import ResultObject, Run


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """One encoded object whose file is on disk. `kind`: SEG, SR, ...; `path` relative to the storage root."""

    run_id: str
    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ResultRow(ResultRecord):
    """A result object as stored."""

    id: int
    created_at: datetime


class ResultRepository:
    """Result objects of all runs."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def upsert(self, record: ResultRecord) -> ResultRow:
        """Keep the object under its SOP Instance UID; a second attempt of the same run replaces file and hash.

        Raises:
            Conflict: the UID belongs to another run (derived UIDs must differ where inputs differ).
            NotFound: no such run.
        """
        return self._database.run(lambda session: self._upsert(session, record))

    def _upsert(self, session: Session, record: ResultRecord) -> ResultRow:
        if session.get(Run, record.run_id) is None:
            raise NotFound("run", record.run_id)
        query = select(ResultObject).where(ResultObject.sop_instance_uid == record.sop_instance_uid)
        found = session.scalars(query.with_for_update()).one_or_none()
        if found is None:
            found = ResultObject(sop_instance_uid=record.sop_instance_uid, run_id=record.run_id)
            found.created_at = self._clock()
            session.add(found)
        elif found.run_id != record.run_id:
            raise Conflict(f"result object {record.sop_instance_uid} belongs to another run", "sop_instance_uid")
        found.kind, found.sop_class_uid = record.kind, record.sop_class_uid
        found.series_instance_uid = record.series_instance_uid
        found.path, found.size, found.sha256 = record.path, record.size, record.sha256
        session.flush()
        return detached(ResultRow, found)

    def of_run(self, run_id: str) -> list[ResultRow]:
        """The objects of one run, in the order they were made."""
        query = select(ResultObject).where(ResultObject.run_id == run_id).order_by(ResultObject.id)
        with self._database.read() as session:
            return [detached(ResultRow, found) for found in session.scalars(query)]

    def of_scan(self, scan_id: str) -> list[ResultRow]:
        """The objects of every run of a scan, first run first."""
        query = select(ResultObject).join(Run, ResultObject.run_id == Run.id).where(Run.scan_id == scan_id)
        with self._database.read() as session:
            found = session.scalars(query.order_by(Run.number, ResultObject.id))
            return [detached(ResultRow, row) for row in found]

    def by_sop_instance_uid(self, sop_instance_uid: str) -> ResultRow | None:
        """The object of this UID; None where it is not one of ours."""
        query = select(ResultObject).where(ResultObject.sop_instance_uid == sop_instance_uid)
        with self._database.read() as session:
            found = session.scalars(query).one_or_none()
            return None if found is None else detached(ResultRow, found)
