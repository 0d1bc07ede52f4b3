"""Rejection notes: what a review rejected is taken back at the destinations that asked for such notes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pydicom import Dataset, dcmread

from dicom_node.results.rejection_note import KIND, Rejection, rejection_note
from dicom_node.routing import Routing
from storage.clock import Clock, utc_now
from storage.deliveries import DeliveryRepository
from storage.delivery_rows import DeliveryRow
from storage.files import FileStore
from storage.results import ResultRecord, ResultRepository, ResultRow
from storage.reviews import ReviewRow
from storage.vocabulary import DeliveryState

log = structlog.get_logger("rejection")


@dataclass(frozen=True, kw_only=True)
class RejectionNotes:
    """Writes a note for each destination that takes the kind REJECTION and has any of the rejected run's objects."""

    results: ResultRepository
    deliveries: DeliveryRepository
    files: FileStore
    routing: Routing
    clock: Clock = utc_now

    def make(self, review: ReviewRow) -> bool:
        """Write and owe the notes. False where it has to be done later: an object may be on its way at this moment."""
        destinations = self.routing.destinations(KIND)
        if not destinations:
            return True
        rows = [row for row in self.deliveries.of_scan(review.scan_id) if row.run_id == review.run_id]
        if any(self._may_be_under_way(row) for row in rows if row.destination in destinations):
            return False
        for destination in destinations:
            sent = [
                row
                for row in rows
                if row.destination == destination and row.state is DeliveryState.SENT and row.kind != KIND
            ]
            if sent:
                note = self._written(review, sent)
                # Not where another verdict was given meanwhile.
                self.deliveries.owe(note.id, [destination], review_id=review.id)
                log.info("rejection note", run=review.run_id, review=review.id, destination=destination, of=len(sent))
        return True

    def _may_be_under_way(self, row: DeliveryRow) -> bool:
        """A sender that took it before the review may still be at it, and what it says then counts."""
        return row.state is DeliveryState.WITHDRAWN and row.attempts > 0 and row.next_attempt_at > self.clock()

    def _written(self, review: ReviewRow, sent: Sequence[DeliveryRow]) -> ResultRow:
        rejected: list[Dataset] = [dcmread(self.files.abspath(row.path), stop_before_pixels=True) for row in sent]
        rejection = Rejection(
            observer=review.reviewer_name,
            reason=review.comment,
            at=review.at,
            key=f"{review.run_id}/{review.id}",
        )
        note = rejection_note(rejected, rejection)
        data = note.to_bytes()
        return self.results.upsert(
            ResultRecord(
                run_id=review.run_id,
                kind=KIND,
                sop_instance_uid=note.sop_instance_uid,
                sop_class_uid=note.sop_class_uid,
                series_instance_uid=note.series_instance_uid,
                path=self.files.write_result(review.run_id, f"rejection-{note.sop_instance_uid}.dcm", data),
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
