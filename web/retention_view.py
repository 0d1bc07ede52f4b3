"""Received images that were removed, and what is on hold, as the API and the pages show them."""

from __future__ import annotations

from storage.holds import HoldRow
from storage.scan_rows import ScanRow
from web.context import WebContext
from web.retention_schemas import HoldOut, RetentionOut


def retention_of(context: WebContext, scan: ScanRow) -> RetentionOut:
    """Return what became of a scan's received images."""
    removal = None if scan.study_id is None else context.removals.last_of(scan.study_id)
    removed = 0 if removal is None else len(context.removals.removed_of(removal.study_id))
    return RetentionOut(
        removed_at=None if removal is None else removal.begun_at,
        removed_instances=removed,
        why="" if removal is None else removal.why,
        holds=[hold_out(row) for row in context.holds.of_scan(scan.id)],
    )


def hold_out(row: HoldRow) -> HoldOut:
    """Return one hold."""
    return HoldOut(
        id=row.id,
        whole_patient=row.patient_id is not None,
        reason=row.reason,
        placed_by=row.placed_by,
        placed_at=row.placed_at,
    )
