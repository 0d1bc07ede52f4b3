"""What follows from a review: accepted SRs go out again, verified; of rejected objects a PACS is told so."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import structlog

from dicom_node.rejection import RejectionNotes
from dicom_node.verification import Verifications
from storage.reviews import ReviewRepository, ReviewRow
from storage.vocabulary import ReviewVerdict

log = structlog.get_logger("review")

#: Of one pass: more than will ever wait or fail at once, for those are the oldest and would keep all later ones out.
_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class ReviewFollowUp:
    """Carries out what reviews ask for.

    A pass that was cut off is done again: the same review of the same objects gives the same object.
    """

    reviews: ReviewRepository
    verifications: Verifications
    rejections: RejectionNotes

    def tick(self) -> None:
        """One pass over the reviews that hold and have not been followed up; one that fails is tried at the next."""
        for review in self.reviews.to_carry_out(limit=_AT_ONCE):
            try:
                self._carry_out(review)
            except Exception as error:  # whatever is wrong with one run's objects, the later reviews are due too
                # The frames without the error's own text, in which a value of the patient's may stand.
                frames = "".join(traceback.format_tb(error.__traceback__))
                log.error("not followed up", run=review.run_id, error=type(error).__name__, frames=frames)

    def _carry_out(self, review: ReviewRow) -> None:
        if review.verdict is ReviewVerdict.ACCEPTED:
            self.verifications.make(review)
        elif review.verdict is ReviewVerdict.REJECTED and not self.rejections.make(review):
            return
        self.reviews.mark_carried_out(review.id)
