"""Accepted SRs go out again, verified, where the site says who answers for that."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydicom import dcmread

from dicom_node.result_kinds import ResultKind
from dicom_node.results.verified import Verification, can_be_verified, verified
from dicom_node.routing import Routing
from dicom_node.run_inputs import lint_of
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.results import ResultRecord, ResultRepository, ResultRow
from storage.reviews import ReviewRow

log = structlog.get_logger("verification")

_DOCUMENTS = (ResultKind.SR.value, ResultKind.SR_VIEWER.value)


@dataclass(frozen=True, kw_only=True)
class Verifications:
    """Makes the amended documents. organization: what verifying observers answer to; empty verifies nothing."""

    results: ResultRepository
    deliveries: DeliveryRepository
    files: FileStore
    routing: Routing
    organization: str

    def make(self, review: ReviewRow) -> None:
        """Write the verified documents of an accepted run, and owe them while the review holds; the same each time."""
        verification = Verification(
            observer=review.reviewer_name,
            organization=self.organization,
            at=review.at,
            key=f"{review.run_id}/{review.id}",
        )
        if not verification.is_attributable:
            log.info("not verified: no organization or no name", run=review.run_id, review=review.id)
            return
        found = lint_of(self.files, review.run_id) or {}
        # As the node made them: a verification amends the analysis, not another person's verification.
        made = made_by_node(self.results.of_run(review.run_id))
        for source in (row for row in made if row.kind in _DOCUMENTS):
            dataset = dcmread(self.files.abspath(source.path))
            if not can_be_verified(dataset):
                log.info("not verified: the document is partial", run=review.run_id, kind=source.kind)
                continue
            amended = verified(source.kind, dataset, verification)
            data = amended.to_bytes()
            name = f"{source.kind.lower()}-{review.id}{_SUFFIX}"
            kept = self.results.upsert(
                ResultRecord(
                    run_id=review.run_id,
                    kind=source.kind,
                    sop_instance_uid=amended.sop_instance_uid,
                    sop_class_uid=amended.sop_class_uid,
                    series_instance_uid=amended.series_instance_uid,
                    path=self.files.write_result(review.run_id, name, data),
                    size=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
            self._owe(review, source, kept, found)
            log.info("verified", run=review.run_id, kind=source.kind, review=review.id)

    def _owe(
        self, review: ReviewRow, source: ResultRow, kept: ResultRow, found: dict[str, list[dict[str, Any]]]
    ) -> None:
        """To whom the amended one's source was owed, or it is held as that was: their content is the same.

        Nobody is owed it where another verdict was given meanwhile.
        """
        for destination in self.routing.destinations(source.kind):
            held = self.routing.held(destination, found.get(source.sop_instance_uid, []))
            if held:
                self.deliveries.hold(kept.id, destination, held)
            else:
                self.deliveries.owe(kept.id, [destination], review_id=review.id)


def made_by_node(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Those of a run's results that the run itself made, one a kind: without what reviews verified."""
    return [row for row in rows if not row.path.endswith(_SUFFIX)]


_SUFFIX = "-verified.dcm"
