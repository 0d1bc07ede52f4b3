"""What follows from a review: accepted SRs go out again, verified; of rejected objects a PACS is told so."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.rejection import RejectionNotes
from dicom_node.verification import Verifications
from storage.reviews import ReviewRepository
from storage.vocabulary import ReviewVerdict


@dataclass(frozen=True, kw_only=True)
class ReviewFollowUp:
    """Carries out what reviews ask for.

    A pass that was cut off is done again: the same review of the same objects gives the same object.
    """

    reviews: ReviewRepository
    verifications: Verifications
    rejections: RejectionNotes

    def tick(self) -> None:
        """One pass over the reviews that hold and have not been followed up."""
        for review in self.reviews.to_carry_out():
            if review.verdict is ReviewVerdict.ACCEPTED:
                self.verifications.make(review)
            elif review.verdict is ReviewVerdict.REJECTED and not self.rejections.make(review):
                continue
            self.reviews.mark_carried_out(review.id)
