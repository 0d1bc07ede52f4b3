"""Reviews: a radiologist accepts, rejects or puts on hold what a run found.

One review of a run is the current one; those before it are kept. `review_consequences` says what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from storage import review_consequences
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.review_tables import Review
from storage.rows import detached
from storage.tables import Run, Scan
from storage.transitions import add_event, locked_scan
from storage.vocabulary import DeliveryState, ReviewVerdict, RunState


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """One review. `replaced_at`: None while it is the run's current one. See `storage.review_tables.Review`."""

    id: int
    scan_id: str
    run_id: str
    verdict: ReviewVerdict
    comment: str
    user_id: int | None
    reviewer: str
    reviewer_name: str
    at: datetime
    replaced_at: datetime | None
    carried_out_at: datetime | None


class ReviewRepository:
    """Reviews, and the deliveries that wait for one."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        run_id: str,
        verdict: ReviewVerdict,
        *,
        comment: str = "",
        reviewer: str,
        reviewer_name: str = "",
        user_id: int | None = None,
    ) -> ReviewRow:
        """Give a verdict on a run, in place of the one before, and let its unsent deliveries follow it.

        Accepted: they are owed. On hold: they wait. Rejected: they are withdrawn.

        Raises:
            NotFound. Conflict: the run is not done ('run-state'), or the scan shows another run's results ('run').
        """

        def work(session: Session) -> ReviewRow:
            scan, run = _scan_and_run(session, run_id)
            now = self._clock()
            if run.state != RunState.DONE:
                raise Conflict("the run has not ended: its results can be reviewed once they are there", "run-state")
            if scan.run != run.number:
                raise Conflict("another run's results took the place of these: look at those first", "run")
            for before in session.scalars(_current().where(Review.run_id == run_id).with_for_update(of=Review)):
                before.replaced_at = now
            session.flush()  # the index allows one current review a run
            review = Review(run_id=run_id, verdict=verdict.value, comment=comment.strip(), user_id=user_id, at=now)
            review.reviewer, review.reviewer_name = reviewer, reviewer_name
            session.add(review)
            session.flush()
            add_event(session, scan.id, "reviewed", f"{verdict.value} by {reviewer}", now, {"review": review.id})
            review_consequences.follow(session, scan, run, verdict, now)
            session.flush()
            return _row(review, scan.id)

        return self._database.run(work)

    def of_scan(self, scan_id: str) -> list[ReviewRow]:
        """Every review of a scan's runs, oldest first."""
        query = select(Review, Run.scan_id).join(Run, Review.run_id == Run.id).where(Run.scan_id == scan_id)
        with self._database.read() as session:
            return [_row(*found) for found in session.execute(query.order_by(Review.id))]

    def current(self, run_id: str) -> ReviewRow | None:
        """The run's review that holds, None where nobody has reviewed it."""
        with self._database.read() as session:
            found = session.execute(_current(Run.scan_id).where(Review.run_id == run_id)).one_or_none()
            return None if found is None else _row(*found)

    def hold_back(self, result_object_id: int, destinations: Iterable[str]) -> None:
        """Let the object wait for a review before each destination that does not know it yet. Raises NotFound."""
        self._database.run(
            lambda session: review_consequences.hold_back(session, result_object_id, destinations, self._clock())
        )

    def judge_held(self, delivery_id: int, reason: str, *, review_first: bool) -> DeliveryState:
        """Keep a held object for this reason, or let it go where that is empty; the state it has then.

        It is owed, waits where its run has to be accepted first or is on hold, and stays held where that was rejected.
        Raises NotFound.
        """
        return self._database.run(
            lambda session: review_consequences.judge_held(
                session, delivery_id, reason, self._clock(), review_first=review_first
            )
        )

    def supersede(self, run_id: str) -> int:
        """Let this run take the place of the scan's others: nothing of them waits for a review any more; how many did.

        What was refused or held of runs before it counts as replaced too, and what waited of this one waits again.
        """
        return self._database.run(
            lambda session: review_consequences.supersede(session, *_scan_and_run(session, run_id))
        )

    def close_rejected(self, scan_id: str) -> bool:
        """End a scan in delivery of whose present run nothing was sent as a review rejected it; False for any other."""
        return self._database.run(lambda session: review_consequences.close_rejected(session, scan_id, self._clock()))

    def to_carry_out(self, limit: int = 20) -> list[ReviewRow]:
        """Current reviews whose consequences nobody has made yet, oldest first."""
        query = _current(Run.scan_id).where(Review.carried_out_at.is_(None)).order_by(Review.id).limit(limit)
        with self._database.read() as session:
            return [_row(*found) for found in session.execute(query)]

    def mark_carried_out(self, review_id: int) -> None:
        """Note that what follows from it was made. Raises NotFound."""
        with self._database.write() as session:
            review = session.get(Review, review_id, with_for_update=True)
            if review is None:
                raise NotFound("review", review_id)
            review.carried_out_at = review.carried_out_at or self._clock()

    def count_by_verdict(self) -> dict[ReviewVerdict, int]:
        """How many runs are under each verdict now."""
        query = select(Review.verdict, func.count()).where(Review.replaced_at.is_(None)).group_by(Review.verdict)
        with self._database.read() as session:
            counts = {row[0]: row[1] for row in session.execute(query)}
        return {verdict: counts.get(verdict.value, 0) for verdict in ReviewVerdict}


def holds(session: Session, review_id: int) -> bool:
    """Whether it is the current review of its run, which it then stays until the transaction ends. Raises NotFound."""
    scan_id = session.scalar(select(Run.scan_id).join(Review, Review.run_id == Run.id).where(Review.id == review_id))
    if scan_id is None:
        raise NotFound("review", review_id)
    locked_scan(session, scan_id)  # as does a review that would take its place
    return session.scalar(select(Review.replaced_at).where(Review.id == review_id)) is None


def rejected_runs() -> Select[str]:
    """The ids of runs whose results a radiologist rejected."""
    return select(Review.run_id).where(Review.replaced_at.is_(None), Review.verdict == ReviewVerdict.REJECTED.value)


def withheld_runs() -> Select[str]:
    """The ids of runs of which nothing is to be sent as a radiologist rejected their results, or put them on hold."""
    withheld = [ReviewVerdict.REJECTED.value, ReviewVerdict.ON_HOLD.value]
    return select(Review.run_id).where(Review.replaced_at.is_(None), Review.verdict.in_(withheld))


def _scan_and_run(session: Session, run_id: str) -> tuple[Scan, Run]:
    scan_id = session.scalar(select(Run.scan_id).where(Run.id == run_id))
    if scan_id is None:
        raise NotFound("run", run_id)
    scan = locked_scan(session, scan_id)
    return scan, session.get_one(Run, run_id, with_for_update=True, populate_existing=True)


def _current(*also: Any) -> Select[Any]:
    return select(Review, *also).join(Run, Review.run_id == Run.id).where(Review.replaced_at.is_(None))


def _row(review: Review, scan_id: str) -> ReviewRow:
    return detached(ReviewRow, review, scan_id=scan_id, verdict=ReviewVerdict(review.verdict))
