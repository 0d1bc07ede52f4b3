"""The API's JSON about reviews of results."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from storage.vocabulary import ReviewVerdict
from web.schema_base import Schema


class ReviewOut(Schema):
    """What a radiologist said of a run's results."""

    id: int
    run_id: str
    verdict: ReviewVerdict
    comment: str
    reviewer: str = Field(description="The account.")
    reviewer_name: str = Field(description="The person's name as it was then.")
    at: datetime
    replaced_at: datetime | None = Field(description="When a later review of this run took its place; null: it holds.")


class ReviewsOut(Schema):
    """The reviews of a scan's runs, oldest first."""

    run_id: str | None = Field(description="The run whose results are shown, which a review is about; null before one.")
    current: ReviewOut | None = Field(description="The review of that run that holds.")
    items: list[ReviewOut]


class ReviewChoice(Schema):
    """A verdict. Rejecting and putting on hold need a comment."""

    verdict: ReviewVerdict
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""
    run_id: Annotated[str, StringConstraints(max_length=80)] | None = Field(
        None, description="The run that was looked at: refused with 409 where another one's results are shown by now."
    )
