"""Erasing a deleted scan: its files go, then every row that belongs to it; one row without patient data stays.

The audit trail points at that row. Cut off half way, it is done anew from the start: the scan stays deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table, Text, cast, delete, or_, select, update
from sqlalchemy.orm import Session

from storage.account_tables import KnownUpload
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.durable import faults_named
from storage.errors import Conflict
from storage.files import FileStore
from storage.holds import holds_on
from storage.scan_care import check_ended
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.scrubbing import DAMAGED
from storage.tables import Base, ConflictingObject, Event, Instance, Run, Scan, Series, Study
from storage.transitions import add_event, locked_scan

#: Tables whose rows outlast the scan they name.
_KEPT = frozenset({Event.__tablename__, Scan.__tablename__})


def erase(database: Database, files: FileStore, scan_id: str, by: str, clock: Clock = utc_now) -> ScanRow:
    """Erase a scan that was deleted before.

    Raises:
        Conflict: it is not deleted, is on hold, or something new came for it. NotFound.
        StorageFault: a file cannot be removed.
    """
    with database.write() as session:
        scan = _deleted(session, scan_id)
        paths = _paths(session, scan)
        runs = list(session.scalars(select(Run.id).where(Run.scan_id == scan_id)))
    results = [f"results/{run_id}" for run_id in runs]
    for folder in (*results, f"uploads/{scan_id}"):
        files.remove_folder(folder)
    for relative in paths:
        path = files.abspath(relative)
        with faults_named("erasing a file", path):
            path.unlink(missing_ok=True)
    with database.write() as session:
        scan = _deleted(session, scan_id)
        study_id, scan.study_id = scan.study_id, None
        session.flush()
        if study_id is not None:
            uid = session.scalar(select(Study.study_instance_uid).where(Study.id == study_id))
            _delete_named(session, str(uid))
            _delete_below(session, Base.metadata.tables[Study.__tablename__], [study_id])
            session.execute(delete(Study).where(Study.id == study_id))
        _delete_below(session, Base.metadata.tables[Scan.__tablename__], [scan_id])
        # An answer says what the upload said of the patient, and names its scan by no key.
        session.execute(delete(KnownUpload).where(cast(KnownUpload.answer, Text).contains(scan_id, autoescape=True)))
        scan.patient_id = scan.patient_name = scan.scan_date = scan.waiting_for = ""
        scan.modalities, scan.results, scan.finding, scan.error_text = [], None, None, None
        # What events say of images (series descriptions) goes too; that they happened, and the trail, stays.
        own = (Event.scan_id == scan_id, Event.sha256.is_(None))
        session.execute(update(Event).where(*own).values(data={}, text=Event.kind))
        scan.erased_at = scan.updated_at = clock()
        add_event(session, scan_id, "erased", f"erased by {by}", scan.updated_at)
        session.flush()
        erased = scan_row(*session.execute(scan_query().where(Scan.id == scan_id)).one())
    for folder in results:
        # What follows a run (views, pictures) may have found the run's row and written into its folder meanwhile.
        files.remove_folder(folder)
    return erased


def _deleted(session: Session, scan_id: str) -> Scan:
    scan = locked_scan(session, scan_id)
    check_ended(session, scan)
    if scan.deleted_at is None:
        raise Conflict("the scan is not deleted: delete it first, then erase it", "deleted")
    if scan.erased_at is not None:
        raise Conflict("the scan's data was erased before", "erased")
    if session.scalars(holds_on(scan.id, scan.patient_id)).first() is not None:
        raise Conflict("the scan or its patient is on hold: release the hold first", "hold")
    return scan


def _paths(session: Session, scan: Scan) -> list[str]:
    if scan.study_id is None:
        return []
    instances = select(Instance.path).join(Series, Instance.series_id == Series.id)
    own = set(session.scalars(instances.where(Series.study_id == scan.study_id)))
    uid = session.scalar(select(Study.study_instance_uid).where(Study.id == scan.study_id))
    apart = select(ConflictingObject.path).where(ConflictingObject.study_instance_uid == uid)
    return [*own, *session.scalars(apart), *_damaged(session, scan, own)]


def _damaged(session: Session, scan: Scan, own: Collection[str]) -> list[str]:
    """What was kept aside of damaged images, also of those found while their study had no scan. Events alone know."""
    query = select(Event.scan_id, Event.data).where(Event.kind == DAMAGED)
    found = session.execute(query.where(or_(Event.scan_id == scan.id, Event.scan_id.is_(None))))
    told = (data for of_scan, data in found if of_scan is not None or data.get("path") in own)
    return [aside for data in told if (aside := data.get("aside"))]


def _delete_named(session: Session, study_instance_uid: str) -> None:
    """Delete every row that names the study by its UID and not by its row: what was kept apart, what a PACS said."""
    for table in Base.metadata.tables.values():
        if table.name != Study.__tablename__ and "study_instance_uid" in table.columns:
            session.execute(delete(table).where(table.columns["study_instance_uid"] == study_instance_uid))


def _delete_below(session: Session, table: Table, keys: Sequence[Any]) -> None:
    """Delete every row that refers to these rows, and what refers to those, whatever table it is in."""
    if not keys:
        return
    for other in Base.metadata.tables.values():
        for column in other.columns:
            if other.name in _KEPT or not any(key.column.table is table for key in column.foreign_keys):
                continue
            refers = column.in_(keys)
            primary = list(other.primary_key.columns)
            if len(primary) == 1:
                _delete_below(session, other, list(session.scalars(select(primary[0]).where(refers))))
            session.execute(delete(other).where(refers))
