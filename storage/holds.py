"""Legal hold: while it lasts, nothing of a scan, or of a patient, is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.columns import one_line
from storage.database import Database
from storage.errors import NotFound
from storage.retention_tables import Hold
from storage.rows import detached
from storage.tables import Scan
from storage.transitions import add_event, locked_scan


@dataclass(frozen=True, kw_only=True)
class HoldRow:
    """One hold. Either `scan_id` or `patient_id` is set. placed_by, released_by: account names."""

    id: int
    scan_id: str | None
    patient_id: str | None
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None
    released_at: datetime | None


class HoldRepository:
    """Holds, by scan and by patient. A patient is a Patient ID, whoever issued it: rather one held too many."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def place(self, scan_id: str, *, whole_patient: bool, reason: str, by: str) -> HoldRow:
        """Put a scan, or all scans of its patient, on hold. One that is there already is returned. Raises NotFound.

        Once this has returned no removal begins; one that had begun is not undone.
        """

        def work(session: Session) -> HoldRow:
            scan = locked_scan(session, scan_id)
            patient_id = scan.patient_id.strip()
            if whole_patient and not patient_id:
                raise NotFound("patient ID of scan", scan_id)
            if whole_patient:
                # A removal locks its scan: with all of them locked none is between its look and its deed.
                same = select(Scan).where(func.trim(Scan.patient_id) == patient_id).order_by(Scan.id)
                session.scalars(same.with_for_update()).all()
            hold = Hold(scan_id=None if whole_patient else scan_id, patient_id=patient_id if whole_patient else None)
            query = _open(hold.scan_id, hold.patient_id)
            known = session.scalars(query).first()
            if known is not None:
                return detached(HoldRow, known)
            hold.reason, hold.placed_by, hold.placed_at = one_line(reason, 300), by, self._clock()
            session.add(hold)
            subject = "the patient" if whole_patient else "the scan"
            add_event(session, scan_id, "hold", f"{subject} is on hold, by {by}: {hold.reason}", self._clock())
            session.flush()
            return detached(HoldRow, hold)

        return self._database.run(work)

    def release(self, scan_id: str, hold_id: int, *, by: str) -> HoldRow:
        """End a hold that applies to the scan. Raises NotFound, also for one that was released before."""

        def work(session: Session) -> HoldRow:
            scan = locked_scan(session, scan_id)
            hold = session.get(Hold, hold_id, with_for_update=True)
            applies = hold is not None and (
                hold.scan_id == scan_id or (hold.patient_id is not None and hold.patient_id == scan.patient_id.strip())
            )
            if hold is None or not applies or hold.released_at is not None:
                raise NotFound("hold of this scan", hold_id)
            hold.released_by, hold.released_at = by, self._clock()
            add_event(session, scan_id, "hold-released", f"the hold was released by {by}", self._clock())
            session.flush()
            return detached(HoldRow, hold)

        return self._database.run(work)

    def of_scan(self, scan_id: str) -> list[HoldRow]:
        """The holds that apply to a scan now, its patient's included, oldest first. Raises NotFound."""
        with self._database.read() as session:
            scan = session.get(Scan, scan_id)
            if scan is None:
                raise NotFound("scan", scan_id)
            return [detached(HoldRow, row) for row in session.scalars(holds_on(scan_id, scan.patient_id))]


def holds_on(scan_id: str, patient_id: str) -> Select[Hold]:
    """The open holds that keep a scan of this patient."""
    patient = patient_id.strip()
    subject = Hold.scan_id == scan_id
    if patient:
        subject = or_(subject, Hold.patient_id == patient)
    return select(Hold).where(Hold.released_at.is_(None), subject).order_by(Hold.id)


def _open(scan_id: str | None, patient_id: str | None) -> Select[Hold]:
    query = select(Hold).where(Hold.released_at.is_(None))
    return query.where(Hold.patient_id == patient_id if scan_id is None else Hold.scan_id == scan_id)
