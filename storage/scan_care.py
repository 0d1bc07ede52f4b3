"""What people do to a scan beside its way through the node: correct what they typed, delete it, bring it back."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict
from storage.lifecycle import END_STATES, RUNNING_STATES, ScanState
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.tables import Delivery, ResultObject, Run, Scan
from storage.transitions import add_event, locked_scan
from storage.vocabulary import DeliveryState

#: What may be corrected, of a scan that a person described; of a DICOM study the images say it.
EDITABLE_FIELDS = frozenset({"patient_id", "patient_name", "scan_date"})


class ScanCareRepository:
    """Changes to scans that people make."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def correct(self, scan_id: str, **changes: str) -> ScanRow:
        """Change `patient_id`, `patient_name` or `scan_date` of a scan that was uploaded as NIfTI.

        Raises:
            ValueError: another field. NotFound. Conflict: of a DICOM study ('identity'), or while it is analysed or
                sent ('state').
        """
        refused = set(changes) - EDITABLE_FIELDS
        if refused:
            raise ValueError(f"not a field that can be corrected: {', '.join(sorted(refused))}")
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            if scan.study_id is not None:
                raise Conflict(
                    "a DICOM study says itself whose it is: correct it at the PACS and send it again", "identity"
                )
            if scan.status in RUNNING_STATES:
                raise Conflict(f"the scan is '{scan.status}': correct it once that ended", "state")
            for name, value in changes.items():
                setattr(scan, name, value)
            scan.updated_at = self._clock()
            # Which fields, never their values: the history is read by whoever reads the scan, the trail by auditors.
            add_event(session, scan_id, "corrected", f"corrected: {', '.join(sorted(changes))}", scan.updated_at)
            return _read(session, scan_id)

    def delete(self, scan_id: str, by: str) -> ScanRow:
        """Put a scan out of sight. It can be restored, and a new instance of its study brings it back by itself.

        Raises:
            Conflict: it has not ended, or an object of it is still owed to a destination. NotFound.
        """
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            check_ended(session, scan)
            if scan.deleted_at is None:
                scan.deleted_at = scan.updated_at = self._clock()
                scan.deleted_by = by
                add_event(session, scan_id, "deleted", f"deleted by {by}", scan.updated_at)
            return _read(session, scan_id)

    def restore(self, scan_id: str, by: str) -> ScanRow:
        """Bring a deleted scan back.

        Raises:
            Conflict: its data was erased. NotFound.
        """
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            if scan.erased_at is not None:
                raise Conflict("the scan's data was erased and cannot be brought back", "erased")
            if scan.deleted_at is not None:
                scan.deleted_at = scan.deleted_by = None
                scan.updated_at = self._clock()
                add_event(session, scan_id, "restored", f"restored by {by}", scan.updated_at)
            return _read(session, scan_id)


def check_ended(session: Session, scan: Scan) -> None:
    """Refuse what only a scan at its end allows.

    Raises:
        Conflict: it has not ended, or an object of it is owed to a destination.
    """
    if scan.status not in END_STATES:
        busy = "being delivered" if scan.status == ScanState.DELIVERING else f"'{scan.status}'"
        raise Conflict(f"the scan is {busy}: delete it once that ended", "state")
    owed = (
        select(Delivery.id)
        .join(ResultObject, Delivery.result_object_id == ResultObject.id)
        .join(Run, ResultObject.run_id == Run.id)
        .where(Run.scan_id == scan.id, Delivery.state == DeliveryState.OWED.value)
        .limit(1)
    )
    if session.scalar(owed) is not None:
        raise Conflict("a result of the scan is still owed to a destination: delete it once that ended", "deliveries")


def _read(session: Session, scan_id: str) -> ScanRow:
    session.flush()
    return scan_row(*session.execute(scan_query().where(Scan.id == scan_id)).one())
