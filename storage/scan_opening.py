"""What a new instance means for the scan of its study: open one, leave it, note it, or send it back to assembling."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.lifecycle import OPEN_STATES, RUNNING_STATES, ScanEvent, ScanState
from storage.tables import Scan, Study
from storage.transitions import add_event, locked_scan, move
from storage.vocabulary import Source


def scan_for_instance(
    session: Session, study: Study, series_instance_uid: str, upload_scan_id: str | None, now: datetime
) -> tuple[Scan, bool]:
    """The scan of a study that a new instance came for, locked, and whether it was sent back to assembling."""
    scan = session.scalars(select(Scan).where(Scan.study_id == study.id).with_for_update()).one_or_none()
    if scan is None:
        return _open(session, study, upload_scan_id, now), False
    scan.updated_at = now
    # What was deleted and goes on arriving is somebody's study: it is shown again.
    scan.deleted_at = scan.deleted_by = None
    if scan.status in OPEN_STATES:
        return scan, False
    if scan.status in RUNNING_STATES:
        scan.late = True
        return scan, False
    text = f"a new instance came in series {series_instance_uid}"
    move(session, scan, ScanEvent.AMEND, text, now, {"series_instance_uid": series_instance_uid})
    return scan, True


def _open(session: Session, study: Study, upload_scan_id: str | None, now: datetime) -> Scan:
    """A scan for the study: the one made for the upload the instance came in, where that has no study yet."""
    scan = locked_scan(session, upload_scan_id) if upload_scan_id else None
    if scan is None or scan.study_id is not None:
        scan = Scan(id=str(uuid.uuid4()), source=Source.CSTORE.value, created_at=now)
        scan.status = ScanState.RECEIVED.value
        session.add(scan)
    scan.study_id, scan.updated_at = study.id, now
    scan.patient_id, scan.patient_name = study.patient_id, study.patient_name
    scan.scan_date = iso_date(study.study_date)
    session.flush()
    add_event(session, scan.id, "received", "first instance", now, {"calling_ae": study.calling_ae})
    return scan


def iso_date(text: str) -> str:
    """A DICOM date (YYYYMMDD) as YYYY-MM-DD; what is no date stays as it came."""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 8 and text.isdigit() else text
    except ValueError:
        return text
