"""An image that was removed and comes again: known, kept anew, and no reason to analyse anything."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.lifecycle import ScanEvent, ScanState
from storage.retention_tables import Removal, RemovedInstance
from storage.tables import Instance, Series
from storage.transitions import add_event, locked_scan, move

#: Why a scan failed that needs images which are removed.
IMAGES_REMOVED = "images-removed"


def restore(session: Session, instance_id: int, scan_id: str | None, now: datetime) -> bool:
    """Take the mark off an instance; True where it had one. Its file may be gone: the caller sees that it is there.

    A scan that had failed for want of its images assembles again when the last of them is back.
    """
    if session.get(RemovedInstance, instance_id) is None:
        return False
    scan = locked_scan(session, scan_id) if scan_id is not None else None
    mark = session.get(RemovedInstance, instance_id, with_for_update=True, populate_existing=True)
    if mark is None:
        return True  # another association was first with the same object; its file is needed all the same
    removal = session.get_one(Removal, mark.removal_id, with_for_update=True)
    session.delete(mark)
    session.flush()
    if removal.restored_at is None:
        removal.restored_at = now
        add_event(session, scan_id, "images-restored", "removed images are coming again", now)
    else:
        removal.restored_at = now
    if scan is not None and scan.status == ScanState.FAILED and scan.error_code == IMAGES_REMOVED:
        left = (
            select(RemovedInstance.instance_id)
            .join(Instance, RemovedInstance.instance_id == Instance.id)
            .join(Series, Instance.series_id == Series.id)
            .where(Series.study_id == scan.study_id)
        )
        if session.scalar(left.limit(1)) is None:
            move(session, scan, ScanEvent.AMEND, "the removed images are here again", now, {})
    return True
