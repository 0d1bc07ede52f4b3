"""What becomes of a scan whose results are no longer on their way."""

from __future__ import annotations

from collections.abc import Sequence

from storage.deliveries import DeliveryRepository
from storage.delivery_rows import DeliveryRow
from storage.errors import ImpossibleTransition
from storage.lifecycle import ScanEvent, ScanState
from storage.reviews import ReviewRepository
from storage.scans import ScanRepository
from storage.vocabulary import DeliveryState

_REFUSED = (DeliveryState.FAILED, DeliveryState.HELD)


def close_delivered(scans: ScanRepository, deliveries: DeliveryRepository, reviews: ReviewRepository) -> None:
    """Let every scan in delivery that nothing is owed of end, or wait for its review, as the run it shows came out."""
    for scan in scans.in_states(ScanState.DELIVERING):
        if deliveries.outstanding(scan.id):
            continue
        rows = deliveries.of_shown_run(scan.id)
        if any(row.state is DeliveryState.OWED for row in rows):
            continue  # since just now
        for run_id in {row.run_id for row in rows}:
            # What of an earlier run was refused after the shown one took its place.
            reviews.supersede(run_id)
        try:
            if any(row.state is DeliveryState.WAITING for row in rows):
                scans.apply_event(scan.id, ScanEvent.REVIEW, "what is not sent yet waits for a review")
            elif not reviews.close_rejected(scan.id):
                _end(scans, scan.id, rows)
        except ImpossibleTransition:
            continue  # another worker closed it


def _end(scans: ScanRepository, scan_id: str, rows: Sequence[DeliveryRow]) -> None:
    refused = sorted({f"{row.destination}: {row.last_error}" for row in rows if row.state in _REFUSED})
    if refused:
        text = "not delivered: " + "; ".join(refused) + "; mend the destination, then retry"
        scans.apply_event(scan_id, ScanEvent.FAIL, text, error_code="delivery-refused")
        return
    # By fall-back, where something was replaced.
    sent = sorted({row.destination for row in rows if row.state is not DeliveryState.WITHDRAWN})
    scans.apply_event(
        scan_id,
        ScanEvent.DELIVERED,
        "delivered to " + ", ".join(sent) if sent else "done; no destination is owed anything",
    )
