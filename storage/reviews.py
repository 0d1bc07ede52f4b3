"""Reviews: a radiologist accepts, rejects or puts on hold what a run found; and what that means for its deliveries.

One review of a run is the current one; those before it are kept. What was sent stays sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.lifecycle import ScanEvent, ScanState
from storage.review_tables import Review
from storage.rows import detached
from storage.tables import Delivery, ResultObject, Run, Scan
from storage.transitions import add_event, locked_scan, move
from storage.vocabulary import DeliveryState, ReviewVerdict, RunState

#: Code of a scan whose results were rejected before all of them were sent.
REJECTED = "rejected-in-review"
#: Why a delivery that waited for a review is not sent any more.
SUPERSEDED = "a later run's results took its place before it was reviewed"
_WITHHELD = (DeliveryState.WAITING.value, DeliveryState.WITHDRAWN.value)
_UNSENT = (DeliveryState.OWED.value, *_WITHHELD)


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
            _follow(session, scan, run, verdict, now)
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

        def work(session: Session) -> None:
            if session.get(ResultObject, result_object_id) is None:
                raise NotFound("result object", result_object_id)
            query = select(Delivery.destination).where(Delivery.result_object_id == result_object_id)
            known, now = set(session.scalars(query)), self._clock()
            for destination in dict.fromkeys(destinations):
                if destination not in known:
                    waiting = Delivery(result_object_id=result_object_id, destination=destination, created_at=now)
                    waiting.state, waiting.next_attempt_at = DeliveryState.WAITING.value, now
                    session.add(waiting)

        self._database.run(work)

    def supersede(self, run_id: str) -> int:
        """Of the runs before this one, send nothing any more that waits for a review; how many objects."""

        def work(session: Session) -> int:
            scan, run = _scan_and_run(session, run_id)
            query = _deliveries(Run.scan_id == scan.id, Run.number < run.number)
            waiting = session.scalars(query.where(Delivery.state == DeliveryState.WAITING.value)).all()
            for delivery in waiting:
                delivery.state, delivery.last_error = DeliveryState.REPLACED.value, SUPERSEDED
            return len(waiting)

        return self._database.run(work)

    def close_rejected(self, scan_id: str) -> bool:
        """End a scan in delivery of whose present run nothing was sent as a review rejected it; False for any other."""

        def work(session: Session) -> bool:
            scan = locked_scan(session, scan_id)
            query = _deliveries(Run.scan_id == scan_id, Run.number == scan.run)
            states = {row.state for row in session.scalars(query)}
            if scan.status != ScanState.DELIVERING or states != {DeliveryState.WITHDRAWN.value}:
                return False
            _reject(session, scan, self._clock())
            return True

        return self._database.run(work)

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


def _follow(session: Session, scan: Scan, run: Run, verdict: ReviewVerdict, now: datetime) -> None:
    """Put the run's unsent deliveries, and with them the scan, where the verdict wants them."""
    unsent = or_(Delivery.state.in_(_UNSENT), Delivery.last_error == SUPERSEDED)
    rows = session.scalars(_deliveries(Run.id == run.id, unsent).with_for_update(of=Delivery)).all()
    state = ScanState(scan.status)
    if verdict is ReviewVerdict.ACCEPTED:
        for row in rows:
            if row.state != DeliveryState.OWED.value:
                # The days after which it is given up begin now.
                row.state, row.next_attempt_at, row.created_at, row.last_error = DeliveryState.OWED.value, now, now, ""
        if state is ScanState.AWAITING_REVIEW:
            move(session, scan, ScanEvent.APPROVE, "accepted in review", now, {})
        elif state is ScanState.FAILED and scan.error_code == REJECTED:
            move(session, scan, ScanEvent.RESEND, "accepted in review after all", now, {})
    elif verdict is ReviewVerdict.ON_HOLD:
        for row in rows:
            row.state, row.last_error = DeliveryState.WAITING.value, ""
        if rows and state is ScanState.DELIVERING:
            move(session, scan, ScanEvent.REVIEW, "on hold: what is not sent yet waits for a review", now, {})
    else:
        for row in rows:
            row.state, row.last_error = DeliveryState.WITHDRAWN.value, "rejected in review"
        if state is ScanState.AWAITING_REVIEW:
            _reject(session, scan, now)


def _reject(session: Session, scan: Scan, now: datetime) -> None:
    """End a locked scan whose results were rejected while they waited."""
    text = "rejected in review: what was not sent is not sent; run it again, or accept the results after all"
    move(session, scan, ScanEvent.FAIL, text, now, {"error_code": REJECTED})


def rejected_runs() -> Select[str]:
    """The ids of runs whose results a radiologist rejected."""
    return select(Review.run_id).where(Review.replaced_at.is_(None), Review.verdict == ReviewVerdict.REJECTED.value)


def _scan_and_run(session: Session, run_id: str) -> tuple[Scan, Run]:
    scan_id = session.scalar(select(Run.scan_id).where(Run.id == run_id))
    if scan_id is None:
        raise NotFound("run", run_id)
    scan = locked_scan(session, scan_id)
    return scan, session.get_one(Run, run_id, with_for_update=True, populate_existing=True)


def _current(*also: Any) -> Select[Any]:
    return select(Review, *also).join(Run, Review.run_id == Run.id).where(Review.replaced_at.is_(None))


def _deliveries(*conditions: ColumnElement[bool]) -> Select[Delivery]:
    joined = select(Delivery).join(ResultObject, Delivery.result_object_id == ResultObject.id)
    return joined.join(Run, ResultObject.run_id == Run.id).where(*conditions)


def _row(review: Review, scan_id: str) -> ReviewRow:
    return detached(ReviewRow, review, scan_id=scan_id, verdict=ReviewVerdict(review.verdict))
