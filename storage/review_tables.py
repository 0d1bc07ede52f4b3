"""The table of reviews: what radiologists said of a run's results."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, one_of
from storage.vocabulary import ReviewVerdict

_CURRENT = text("replaced_at IS NULL")


class Review(Base):
    """One verdict. Rows are only ever added; `replaced_at`: when a later one took its place, one a run has none.

    `reviewer`, `reviewer_name`: the account and the person's name as they were then. `carried_out_at`: when the worker
    had made what follows from it.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        one_of("verdict", ReviewVerdict),
        Index("ix_reviews_current", "run_id", unique=True, sqlite_where=_CURRENT, postgresql_where=_CURRENT),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    verdict: Mapped[str]
    comment: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    reviewer: Mapped[str]
    reviewer_name: Mapped[str]
    at: Mapped[datetime]
    replaced_at: Mapped[datetime | None]
    carried_out_at: Mapped[datetime | None] = mapped_column(index=True)
