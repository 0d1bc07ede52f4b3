"""What a review means for a run's deliveries and its scan. Functions for a transaction that others have begun.

What was sent stays sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from storage.columns import one_line
from storage.errors import NotFound
from storage.lifecycle import ScanEvent, ScanState
from storage.review_tables import Review
from storage.tables import Delivery, ResultObject, Run, Scan
from storage.transitions import locked_scan, move
from storage.vocabulary import REJECTION_NOTE, DeliveryState, ReviewVerdict

#: Code of a scan whose results were rejected before all of them were sent.
REJECTED = "rejected-in-review"
#: Why a delivery that waited for a review is not sent any more.
SUPERSEDED = "a later run's results took its place before it was reviewed"
#: Before the reason why a delivery of an earlier run failed, or was held.
OUTDATED = "a later run's results took its place: "
OUTDATED_HELD = "a later run's results took the place of what was held: "
_WITHHELD = (DeliveryState.WAITING.value, DeliveryState.WITHDRAWN.value)
_FAILED = DeliveryState.FAILED.value
_UNSENT = (DeliveryState.OWED.value, _FAILED, *_WITHHELD)


def follow(session: Session, scan: Scan, run: Run, verdict: ReviewVerdict, now: datetime) -> None:
    """Put the run's unsent deliveries, and with them the scan, where the verdict wants them.

    What a destination refused is withdrawn with the rest by a rejection; any other verdict leaves it to a person.
    """
    unsent = or_(Delivery.state.in_(_UNSENT), Delivery.last_error == SUPERSEDED)
    of_run = _deliveries(Run.id == run.id, unsent).with_for_update(of=Delivery)
    rows = session.scalars(of_run.where(ResultObject.kind != REJECTION_NOTE, Delivery.state != _FAILED)).all()
    for note in session.scalars(of_run.where(ResultObject.kind == REJECTION_NOTE)):
        # A rejection writes a note of its own.
        note.state, note.last_error = DeliveryState.WITHDRAWN.value, "another review took the place of its own"
    state = ScanState(scan.status)
    if verdict is ReviewVerdict.ACCEPTED:
        revived = [row for row in rows if row.state != DeliveryState.OWED.value]
        for row in revived:
            # The days after which it is given up begin now.
            row.state, row.next_attempt_at, row.created_at, row.last_error = DeliveryState.OWED.value, now, now, ""
        refused_before = bool(revived) and scan.failed_in == ScanState.DELIVERING
        if state is ScanState.AWAITING_REVIEW:
            move(session, scan, ScanEvent.APPROVE, "accepted in review", now, {})
        elif state is ScanState.FAILED and (scan.error_code == REJECTED or refused_before):
            move(session, scan, ScanEvent.RESEND, "accepted in review after all", now, {})
    elif verdict is ReviewVerdict.ON_HOLD:
        for row in rows:
            row.state, row.last_error = DeliveryState.WAITING.value, ""
        if rows and state is ScanState.DELIVERING:
            move(session, scan, ScanEvent.REVIEW, "on hold: what is not sent yet waits for a review", now, {})
    else:
        refused = session.scalars(of_run.where(ResultObject.kind != REJECTION_NOTE, Delivery.state == _FAILED)).all()
        for row in refused:
            row.next_attempt_at = now  # nobody is sending it, so that a rejection note need not wait for it
        for row in (*rows, *refused):
            row.state, row.last_error = DeliveryState.WITHDRAWN.value, "rejected in review"
        if state is ScanState.AWAITING_REVIEW:
            _reject(session, scan, now)


def _reject(session: Session, scan: Scan, now: datetime) -> None:
    """End a locked scan whose results were rejected while they waited."""
    text = "rejected in review: what was not sent is not sent; run it again, or accept the results after all"
    move(session, scan, ScanEvent.FAIL, text, now, {"error_code": REJECTED})


def hold_back(session: Session, result_object_id: int, destinations: Iterable[str], now: datetime) -> None:
    """Let the object wait for a review before each destination that does not know it yet. Raises NotFound."""
    if session.get(ResultObject, result_object_id) is None:
        raise NotFound("result object", result_object_id)
    known = set(session.scalars(select(Delivery.destination).where(Delivery.result_object_id == result_object_id)))
    for destination in dict.fromkeys(destinations):
        if destination not in known:
            waiting = Delivery(result_object_id=result_object_id, destination=destination, created_at=now)
            waiting.state, waiting.next_attempt_at = DeliveryState.WAITING.value, now
            session.add(waiting)


def judge_held(session: Session, delivery_id: int, reason: str, now: datetime, *, review_first: bool) -> DeliveryState:
    """See `ReviewRepository.judge_held`."""
    of_run = select(Run).join(ResultObject).join(Delivery).where(Delivery.id == delivery_id)
    run = session.scalars(of_run).one_or_none()
    if run is None:
        raise NotFound("delivery", delivery_id)
    locked_scan(session, run.scan_id)  # a review waits for this, or this sees what it decided
    delivery = session.get_one(Delivery, delivery_id, with_for_update=True)
    current = select(Review.verdict).where(Review.run_id == run.id, Review.replaced_at.is_(None))
    verdict = session.scalar(current)
    if delivery.state == DeliveryState.HELD and reason:
        delivery.last_error = one_line(reason)
    elif delivery.state == DeliveryState.HELD and verdict != ReviewVerdict.REJECTED:
        waits = verdict == ReviewVerdict.ON_HOLD or (review_first and verdict is None)
        delivery.state = DeliveryState.WAITING.value if waits else DeliveryState.OWED.value
        # The days after which it is given up begin now.
        delivery.next_attempt_at, delivery.created_at, delivery.last_error = now, now, ""
    return DeliveryState(delivery.state)


def supersede(session: Session, scan: Scan, run: Run) -> int:
    """Of the other runs, send nothing any more that waits for a review, and let this one's wait again; how many.

    What destinations refused of runs before this one, or what was held there, needs no mending any more; what was of
    this one while another stood in its place does again.
    """
    of_scan = _deliveries(Run.scan_id == scan.id).with_for_update(of=Delivery)
    unsent = of_scan.where(Run.number < run.number, ResultObject.kind != REJECTION_NOTE)
    for delivery in session.scalars(unsent.where(Delivery.state.in_((_FAILED, DeliveryState.HELD.value)))):
        kind = OUTDATED_HELD if delivery.state == DeliveryState.HELD else OUTDATED
        delivery.last_error = one_line(f"{kind}{delivery.last_error}")
        delivery.state = DeliveryState.REPLACED.value
    for own in session.scalars(of_scan.where(Run.id == run.id, Delivery.state == DeliveryState.REPLACED.value)):
        for kind, state in ((OUTDATED, DeliveryState.FAILED), (OUTDATED_HELD, DeliveryState.HELD)):
            if own.last_error.startswith(kind):
                own.state, own.last_error = state.value, own.last_error.removeprefix(kind)
    for own in session.scalars(of_scan.where(Run.id == run.id, Delivery.last_error == SUPERSEDED)):
        own.state, own.last_error = DeliveryState.WAITING.value, ""
    others = of_scan.where(Run.id != run.id)
    waiting = session.scalars(others.where(Delivery.state == DeliveryState.WAITING.value)).all()
    for delivery in waiting:
        delivery.state, delivery.last_error = DeliveryState.REPLACED.value, SUPERSEDED
    return len(waiting)


def close_rejected(session: Session, scan_id: str, now: datetime) -> bool:
    """End a scan in delivery of whose present run nothing was sent as a review rejected it; False for any other."""
    scan = locked_scan(session, scan_id)
    states = {row.state for row in session.scalars(_deliveries(Run.scan_id == scan_id, Run.number == scan.run))}
    if scan.status != ScanState.DELIVERING or states != {DeliveryState.WITHDRAWN.value}:
        return False
    _reject(session, scan, now)
    return True


def _deliveries(*conditions: ColumnElement[bool]) -> Select[Delivery]:
    joined = select(Delivery).join(ResultObject, Delivery.result_object_id == ResultObject.id)
    return joined.join(Run, ResultObject.run_id == Run.id).where(*conditions)
