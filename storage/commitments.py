"""Storage commitment asked of destinations: one row a delivery that asks for it, one a request sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.columns import one_line
from storage.database import Database
from storage.outward_tables import Commitment, CommitmentTransaction
from storage.reviews import rejected_runs
from storage.rows import detached
from storage.tables import Delivery, ResultObject, Run, Scan
from storage.vocabulary import REJECTION_NOTE, CommitmentState, DeliveryState

#: A denied object is sent anew this often before the denial is shown as final.
MOST_RESENDS = 1

_OPEN = (CommitmentState.OWED.value, CommitmentState.ASKED.value)


@dataclass(frozen=True, kw_only=True)
class CommitmentRow:
    """The commitment of one delivered object. `attempts` counts requests begun, `reason` is one line for the page."""

    id: int
    delivery_id: int
    state: CommitmentState
    attempts: int
    resends: int
    next_attempt_at: datetime
    transaction_uid: str | None
    reason: str
    created_at: datetime
    ended_at: datetime | None
    destination: str
    scan_id: str
    kind: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a report changed. known: its transaction is one of ours; the rest count objects."""

    known: bool
    committed: int = 0
    sent_again: int = 0
    failed: int = 0


class CommitmentRepository:
    """Commitments owed by destinations.

    Args:
        lease_s: how long a worker that took rows has them to itself.
    """

    def __init__(self, database: Database, clock: Clock = utc_now, *, lease_s: float = 300.0) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease_s)

    def begin(self, destination: str, transaction_uid: str, *, limit: int = 200) -> list[CommitmentRow]:
        """Take what is to be asked of a destination now, under a new transaction that is committed before it is sent.

        Unanswered requests whose time has come are among them. Nothing is written where nothing is due.
        """
        now = self._clock()
        due = (
            select(Commitment)
            .join(Delivery, Commitment.delivery_id == Delivery.id)
            .where(
                Commitment.state.in_(_OPEN),
                Commitment.next_attempt_at <= now,
                Delivery.destination == destination,
                Delivery.state == DeliveryState.SENT.value,
            )
            .order_by(Commitment.created_at, Commitment.id)
            .limit(limit)
            .with_for_update(of=Commitment, skip_locked=True)
        )
        with self._database.write() as session:
            taken = list(session.scalars(due))
            if not taken:
                return []
            session.add(CommitmentTransaction(transaction_uid=transaction_uid, destination=destination, asked_at=now))
            for row in taken:
                row.transaction_uid, row.attempts = transaction_uid, row.attempts + 1
                row.next_attempt_at = now + self._lease
            session.flush()
            return _rows(session, _query().where(Commitment.transaction_uid == transaction_uid))

    def asked(self, transaction_uid: str, ask_again_at: datetime) -> None:
        """The destination took the request; where no report comes by then it is asked again."""
        self._move(transaction_uid, CommitmentState.ASKED, ask_again_at, "")

    def put_off(self, transaction_uid: str, next_attempt_at: datetime, reason: str) -> None:
        """The request did not get through; try again at that time."""
        self._move(transaction_uid, None, next_attempt_at, reason)

    def give_up(self, transaction_uid: str, reason: str) -> None:
        """The destination will never answer, as it does not offer the service."""
        self._move(transaction_uid, CommitmentState.UNCONFIRMED, self._clock(), reason)

    def _move(self, transaction_uid: str, state: CommitmentState | None, next_at: datetime, reason: str) -> None:
        query = select(Commitment).where(Commitment.transaction_uid == transaction_uid, Commitment.state.in_(_OPEN))
        with self._database.write() as session:
            # The report may have come before this: what it ended stays ended.
            for row in session.scalars(query.with_for_update()):
                row.next_attempt_at, row.reason = next_at, one_line(reason)
                if state is not None:
                    row.state = state.value
                if state is CommitmentState.UNCONFIRMED:
                    row.ended_at = self._clock()

    def settle(self, transaction_uid: str, committed: Collection[str], failed: Mapping[str, str]) -> Settled:
        """Apply a report. May come late, twice, and for a request that was repeated since.

        A commitment counts from any of our transactions with that destination; a denial from the latest alone. The
        first denial of an object has it sent again, the next ends it as failed, as does any of what a review rejected.

        Args:
            committed: SOP Instance UIDs. failed: SOP Instance UID to a reason of one line.
        """
        now = self._clock()

        def work(session: Session) -> Settled:
            transaction = session.get(CommitmentTransaction, transaction_uid)
            if transaction is None:
                return Settled(known=False)
            rejected = _rejected(session, failed)
            query = (
                select(Commitment, Delivery, ResultObject.sop_instance_uid)
                .join(Delivery, Commitment.delivery_id == Delivery.id)
                .join(ResultObject, Delivery.result_object_id == ResultObject.id)
                .where(
                    Delivery.destination == transaction.destination,
                    ResultObject.sop_instance_uid.in_([*committed, *failed]),
                    Commitment.state != CommitmentState.COMMITTED.value,
                )
                .with_for_update(of=(Commitment, Delivery))
            )
            counts = {"committed": 0, "sent_again": 0, "failed": 0}
            for row, delivery, uid in session.execute(query):
                if uid in failed:
                    if row.transaction_uid == transaction_uid and row.state != CommitmentState.FAILED:
                        counts[_deny(row, delivery, failed[uid], now, again=uid not in rejected)] += 1
                else:
                    row.state, row.reason, row.ended_at = CommitmentState.COMMITTED.value, "", now
                    counts["committed"] += 1
            return Settled(known=True, **counts)

        # Scans are locked one after the other, as those who record images lock them: one of two may have to begin anew.
        return self._database.run(work)

    def expire(self, give_up_after: timedelta) -> int:
        """End what was not answered for so long since it was first owed, as not confirmed; how many."""
        before = self._clock() - give_up_after
        query = select(Commitment).where(Commitment.state.in_(_OPEN), Commitment.created_at <= before)
        with self._database.write() as session:
            late = list(session.scalars(query.with_for_update(skip_locked=True)))
            for row in late:
                row.state, row.ended_at = CommitmentState.UNCONFIRMED.value, self._clock()
                row.reason = row.reason or "no report came in time"
            return len(late)

    def of_scan(self, scan_id: str) -> dict[int, CommitmentRow]:
        """The commitments of a scan's deliveries, by delivery id."""
        with self._database.read() as session:
            return {row.delivery_id: row for row in _rows(session, _query().where(Run.scan_id == scan_id))}

    def unsettled(self, scan_id: str) -> list[CommitmentRow]:
        """Those of a scan that no destination has committed itself to: its images are not to be pruned before."""
        return [row for row in self.of_scan(scan_id).values() if row.state is not CommitmentState.COMMITTED]

    def count_by_state(self) -> dict[CommitmentState, int]:
        """How many are in each state."""
        with self._database.read() as session:
            found = session.execute(select(Commitment.state, func.count()).group_by(Commitment.state)).all()
        counts = {row[0]: row[1] for row in found}
        return {state: counts.get(state.value, 0) for state in CommitmentState}


def owe_commitment(session: Session, delivery_id: int, now: datetime) -> None:
    """Owe the question for a delivery that was just sent, in the caller's transaction; anew where it was sent again."""
    row = session.scalars(select(Commitment).where(Commitment.delivery_id == delivery_id)).one_or_none()
    if row is None:
        row = Commitment(delivery_id=delivery_id)
        session.add(row)
    elif row.state == CommitmentState.COMMITTED.value:
        return
    row.state, row.next_attempt_at, row.created_at, row.ended_at = CommitmentState.OWED.value, now, now, None


def _rejected(session: Session, uids: Collection[str]) -> set[str]:
    """Those of the SOP Instance UIDs that a review rejected: a PACS that heeds it has them no more, and denies them."""
    made = select(ResultObject.sop_instance_uid).join(Run).where(ResultObject.sop_instance_uid.in_([*uids]))
    # A review locks the scan: it waits for the end of this transaction, or this sees what it decided.
    scans = select(Scan.id).join(Run).join(ResultObject).where(ResultObject.sop_instance_uid.in_([*uids]))
    session.execute(scans.order_by(Scan.id).with_for_update(of=Scan)).all()
    return set(session.scalars(made.where(ResultObject.kind != REJECTION_NOTE, Run.id.in_(rejected_runs()))))


def _deny(row: Commitment, delivery: Delivery, reason: str, now: datetime, *, again: bool) -> str:
    row.reason = one_line(reason)
    if again and row.resends < MOST_RESENDS and delivery.state == DeliveryState.SENT.value:
        row.resends += 1
        row.state, row.transaction_uid = CommitmentState.OWED.value, None
        delivery.state, delivery.next_attempt_at = DeliveryState.OWED.value, now
        delivery.last_error = one_line(f"the peer did not commit itself to it ({reason}): sent again")
        return "sent_again"
    row.state, row.ended_at = CommitmentState.FAILED.value, now
    return "failed"


def _query() -> Select[Commitment, str, str, str, str, str]:
    return (
        select(
            Commitment,
            Delivery.destination,
            Run.scan_id,
            ResultObject.kind,
            ResultObject.sop_class_uid,
            ResultObject.sop_instance_uid,
        )
        .join(Delivery, Commitment.delivery_id == Delivery.id)
        .join(ResultObject, Delivery.result_object_id == ResultObject.id)
        .join(Run, ResultObject.run_id == Run.id)
        .order_by(Commitment.created_at, Commitment.id)
    )


def _rows(session: Session, query: Select[Commitment, str, str, str, str, str]) -> list[CommitmentRow]:
    names = ("destination", "scan_id", "kind", "sop_class_uid", "sop_instance_uid")
    return [
        detached(
            CommitmentRow, found[0], state=CommitmentState(found[0].state), **dict(zip(names, found[1:], strict=True))
        )
        for found in session.execute(query)
    ]
