"""Held objects, judged anew: what a destination's lint profiles name may have changed since they were held."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from dicom_node.routing import Routing
from dicom_node.run_inputs import lint_of
from dicom_node.verification import made_by_node
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.results import ResultRepository
from storage.reviews import ReviewRepository
from storage.runs import RunRow
from storage.vocabulary import DeliveryState

log = structlog.get_logger("held")


@dataclass(frozen=True, kw_only=True)
class HeldObjects:
    """Judges by the defects that the lint found when the objects were made. review_first: see `RunSteps`."""

    results: ResultRepository
    deliveries: DeliveryRepository
    reviews: ReviewRepository
    files: FileStore
    routing: Routing
    review_first: bool = False

    def judge_again(self, run: RunRow) -> None:
        """Release what of a run may go to its destination by now; of the rest the reason is that of today."""
        found = lint_of(self.files, run.id)
        if found is None:
            return
        # A verified document is held as its source is, which has its kind: their content is the same.
        made = made_by_node(self.results.of_run(run.id))
        defects = {row.kind: found.get(row.sop_instance_uid, []) for row in made}
        for row in self.deliveries.of_scan(run.scan_id):
            if row.run_id == run.id and row.state is DeliveryState.HELD:
                held = self.routing.held(row.destination, defects.get(row.kind, []))
                state = self.reviews.judge_held(row.id, held, review_first=self.review_first)
                log.info("judged again", run=run.id, kind=row.kind, destination=row.destination, state=state.value)
