"""The outbox: what is owed to which destination. One sender at a time holds a row, by lease."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.columns import one_line
from storage.commitments import owe_commitment
from storage.database import Database
from storage.delivery_rows import DeliveryRow, delivery_query, delivery_rows
from storage.errors import Conflict, NotFound
from storage.reviews import holds, withheld_runs
from storage.tables import Delivery, ResultObject, Run, Scan
from storage.transitions import locked_scan
from storage.vocabulary import REJECTION_NOTE, DeliveryState


class DeliveryRepository:
    """Deliveries owed, sent and refused.

    Args:
        lease_s: how long a sender that took a row has it to itself. Longer than any send: a sender that is killed
            leaves its rows to the others only after that.
    """

    def __init__(self, database: Database, clock: Clock = utc_now, *, lease_s: float = 600.0) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease_s)

    def owe(
        self, result_object_id: int, destinations: Iterable[str], *, review_id: int | None = None
    ) -> list[DeliveryRow]:
        """Owe the object to each destination. What is already owed, sent or refused stays as it is. Raises NotFound.

        review_id: of the review it follows from. Nothing is owed where that is not the one that holds of its run.
        """
        names = list(destinations)

        def work(session: Session) -> list[DeliveryRow]:
            wanted = review_id is None or holds(session, review_id)
            return self._owe(session, result_object_id, names if wanted else [])

        return self._database.run(work)

    def _owe(self, session: Session, result_object_id: int, destinations: list[str]) -> list[DeliveryRow]:
        if session.get(ResultObject, result_object_id) is None:
            raise NotFound("result object", result_object_id)
        query = select(Delivery.destination).where(Delivery.result_object_id == result_object_id)
        known = set(session.scalars(query))
        now = self._clock()
        for destination in dict.fromkeys(destinations):
            if destination not in known:
                owed = Delivery(result_object_id=result_object_id, destination=destination, created_at=now)
                owed.state, owed.next_attempt_at = DeliveryState.OWED.value, now
                session.add(owed)
        session.flush()
        return delivery_rows(session, delivery_query().where(Delivery.result_object_id == result_object_id))

    def hold(self, result_object_id: int, destination: str, reason: str) -> None:
        """Note that the object is not fit for the destination, unless it is known there already. Raises NotFound."""
        self._database.run(lambda session: self._hold(session, result_object_id, destination, reason))

    def _hold(self, session: Session, result_object_id: int, destination: str, reason: str) -> None:
        known = {row.destination: row.state for row in self._owe(session, result_object_id, [])}
        self._owe(session, result_object_id, [destination])
        if destination not in known:
            query = select(Delivery).where(
                Delivery.result_object_id == result_object_id, Delivery.destination == destination
            )
            held = session.scalars(query).one()
            held.state, held.last_error = DeliveryState.HELD.value, one_line(reason)

    def replace_by(self, delivery_id: int, kinds: Collection[str], reason: str) -> bool:
        """Owe the destination its run's objects of these kinds in place of this one. False where there are none.

        Nor does anything take the place of one that is not owed any more.
        """
        with self._database.write() as session:
            delivery = session.get(Delivery, delivery_id, with_for_update=True)
            if delivery is None:
                raise NotFound("delivery", delivery_id)
            if delivery.state != DeliveryState.OWED:
                return False  # a review withheld it while it was being sent
            made = session.get_one(ResultObject, delivery.result_object_id)
            query = select(ResultObject.id).where(ResultObject.run_id == made.run_id)
            substitutes = list(session.scalars(query.where(ResultObject.kind.in_(list(kinds)))))
            for substitute in substitutes:
                self._owe(session, substitute, [delivery.destination])
            if substitutes:
                delivery.state, delivery.last_error = DeliveryState.REPLACED.value, one_line(reason)
            return bool(substitutes)

    def due(
        self, now: datetime | None = None, *, limit: int = 100, destination: str | None = None
    ) -> list[DeliveryRow]:
        """Take the rows whose time has come, oldest first. Nobody else is given them until the lease is over."""
        at = now or self._clock()
        query = select(Delivery).where(Delivery.state == DeliveryState.OWED.value, Delivery.next_attempt_at <= at)
        if destination is not None:
            query = query.where(Delivery.destination == destination)
        query = query.order_by(Delivery.created_at, Delivery.id).limit(limit).with_for_update(skip_locked=True)
        with self._database.write() as session:
            taken = list(session.scalars(query))
            for delivery in taken:
                delivery.next_attempt_at = at + self._lease
                delivery.attempts += 1
            session.flush()
            return delivery_rows(session, delivery_query().where(Delivery.id.in_([delivery.id for delivery in taken])))

    def is_due(self, destination: str) -> bool:
        """True where something could be taken for a destination now."""
        query = select(Delivery.id).where(
            Delivery.state == DeliveryState.OWED.value,
            Delivery.destination == destination,
            Delivery.next_attempt_at <= self._clock(),
        )
        with self._database.read() as session:
            return session.scalar(query.limit(1)) is not None

    def mark_sent(self, delivery_id: int, *, commit: bool = False) -> DeliveryRow:
        """The destination has it. commit: it is then owed the question of storage commitment. Raises NotFound."""
        return self._mark(delivery_id, DeliveryState.SENT, None, "", commit=commit)

    def mark_failed(self, delivery_id: int, next_attempt_at: datetime | None, error: str) -> DeliveryRow:
        """The attempt failed; try again at the time given, or never where it is None. What was sent stays sent.

        Args:
            error: one line for the page, without patient data.
        """
        state = DeliveryState.FAILED if next_attempt_at is None else DeliveryState.OWED
        return self._mark(delivery_id, state, next_attempt_at, error)

    def _mark(
        self, delivery_id: int, state: DeliveryState, next_at: datetime | None, error: str, *, commit: bool = False
    ) -> DeliveryRow:
        with self._database.write() as session:
            delivery = session.get(Delivery, delivery_id, with_for_update=True)
            if delivery is None:
                raise NotFound("delivery", delivery_id)
            # A sender whose lease ran out may report late: success is always true, failure only while it is owed.
            if state is DeliveryState.SENT or delivery.state == DeliveryState.OWED:
                if delivery.state != DeliveryState.SENT and state is DeliveryState.SENT:
                    delivery.sent_at = self._clock()
                    if commit:
                        owe_commitment(session, delivery_id, self._clock())
                delivery.state, delivery.last_error = state.value, one_line(error)
                delivery.next_attempt_at = next_at or delivery.next_attempt_at
            session.flush()
            return delivery_rows(session, delivery_query().where(Delivery.id == delivery_id))[0]

    def owe_again(self, scan_id: str) -> int:
        """Owe anew what destinations refused of the run this scan shows (a person asked for it); how many rows.

        Nothing of a run that a review withholds. Raises NotFound.
        """
        query = select(Delivery).join(ResultObject).join(Run).where(Run.scan_id == scan_id, _may_leave())
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)  # a review waits for this, or this sees what it decided
            of_run = query.where(Run.number == scan.run)
            refused = list(session.scalars(of_run.where(Delivery.state == DeliveryState.FAILED.value)))
            for delivery in refused:
                _owe_anew(delivery, self._clock())
            return len(refused)

    def owe_once_more(self, delivery_id: int) -> DeliveryRow:
        """Owe anew one object that was refused, or sent and not kept (a person asked for it).

        Raises:
            NotFound. Conflict: a review withholds what its run found ('review').
        """
        of_run = select(Run.scan_id).join(ResultObject).join(Delivery).where(Delivery.id == delivery_id)
        with self._database.write() as session:
            scan_id = session.scalar(of_run)
            if scan_id is None:
                raise NotFound("delivery", delivery_id)
            locked_scan(session, scan_id)
            if session.scalar(of_run.where(_may_leave())) is None:
                raise Conflict("a review withholds these results: accept them first", "review")
            delivery = session.get_one(Delivery, delivery_id, with_for_update=True)
            _owe_anew(delivery, self._clock())
            session.flush()
            return delivery_rows(session, delivery_query().where(Delivery.id == delivery_id))[0]

    def give_up(self, destination: str, owed_before: datetime, reason: str) -> int:
        """Fail what has been owed to a destination since before a time; how many."""
        query = select(Delivery).where(
            Delivery.state == DeliveryState.OWED.value,
            Delivery.destination == destination,
            Delivery.created_at <= owed_before,
        )
        with self._database.write() as session:
            old = list(session.scalars(query.with_for_update(skip_locked=True)))
            for delivery in old:
                delivery.state, delivery.last_error = DeliveryState.FAILED.value, one_line(reason)
            return len(old)

    def dead_letters(self, *, limit: int = 200) -> list[DeliveryRow]:
        """What destinations refused for good, the latest first."""
        query = delivery_query().order_by(None).where(Delivery.state == DeliveryState.FAILED.value)
        with self._database.read() as session:
            return delivery_rows(
                session, query.order_by(Delivery.next_attempt_at.desc(), Delivery.id.desc()).limit(limit)
            )

    def get(self, delivery_id: int) -> DeliveryRow:
        """One delivery. Raises NotFound."""
        with self._database.read() as session:
            found = delivery_rows(session, delivery_query().where(Delivery.id == delivery_id))
        if not found:
            raise NotFound("delivery", delivery_id)
        return found[0]

    def of_scan(self, scan_id: str) -> list[DeliveryRow]:
        """Every delivery of a scan, oldest first."""
        with self._database.read() as session:
            return delivery_rows(session, delivery_query().where(Run.scan_id == scan_id))

    def of_shown_run(self, scan_id: str) -> list[DeliveryRow]:
        """Every delivery of the run whose results the scan shows, oldest first."""
        shown = select(Scan.run).where(Scan.id == scan_id).scalar_subquery()
        with self._database.read() as session:
            return delivery_rows(session, delivery_query().where(Run.scan_id == scan_id, Run.number == shown))

    def outstanding(self, scan_id: str) -> list[DeliveryRow]:
        """What is still owed for a scan, oldest first."""
        return [row for row in self.of_scan(scan_id) if row.state is DeliveryState.OWED]

    def count_by_state(self) -> dict[DeliveryState, int]:
        """How many deliveries are in each state."""
        with self._database.read() as session:
            found = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
        counts = {row[0]: row[1] for row in found}
        return {state: counts.get(state.value, 0) for state in DeliveryState}

    def owed_by_destination(self, now: datetime | None = None) -> dict[str, tuple[int, timedelta]]:
        """How many objects each destination is owed, and how long the oldest has waited."""
        owed = Delivery.state == DeliveryState.OWED.value
        query = select(Delivery.destination, func.count(), func.min(Delivery.created_at)).where(owed)
        with self._database.read() as session:
            found = session.execute(query.group_by(Delivery.destination)).all()
        at = now or self._clock()
        return {name: (count, max(timedelta(), at - oldest)) for name, count, oldest in found}

    def oldest_owed_age(self, now: datetime | None = None) -> timedelta | None:
        """How long the oldest owed row has waited; None where nothing is owed."""
        query = select(func.min(Delivery.created_at)).where(Delivery.state == DeliveryState.OWED.value)
        with self._database.read() as session:
            oldest = session.scalar(query)
        return None if oldest is None else max(timedelta(), (now or self._clock()) - oldest)


def _owe_anew(delivery: Delivery, now: datetime) -> None:
    delivery.state, delivery.next_attempt_at = DeliveryState.OWED.value, now
    delivery.created_at = now  # the days after which it is given up begin anew


def _may_leave() -> ColumnElement[bool]:
    """The condition on a result object that no review withholds it; a rejection's own note always may."""
    return or_(ResultObject.kind == REJECTION_NOTE, ResultObject.run_id.not_in(withheld_runs()))
