"""What peers ask us to commit ourselves to: kept until our answer is taken, over any restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.columns import one_line
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.outward_tables import CommitmentRequest
from storage.rows import detached
from storage.vocabulary import ReportState

#: (SOP Class UID, SOP Instance UID).
InstanceReference = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class CommitmentRequestRow:
    """One request of a peer. `attempts` counts the answers begun."""

    id: int
    transaction_uid: str
    calling_ae: str
    instances: tuple[InstanceReference, ...]
    state: ReportState
    attempts: int
    next_attempt_at: datetime
    last_error: str
    received_at: datetime
    ended_at: datetime | None


class CommitmentRequestRepository:
    """Requests of peers and our answers.

    Args:
        lease_s: how long whoever took a request to answer it has it to itself.
    """

    def __init__(self, database: Database, clock: Clock = utc_now, *, lease_s: float = 120.0) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease_s)

    def keep(
        self, transaction_uid: str, calling_ae: str, instances: Sequence[InstanceReference], *, hold_s: float = 0.0
    ) -> CommitmentRequestRow:
        """Keep a request; committed when this returns. The same request again is owed its answer again.

        Args:
            hold_s: how long the receiver has it to itself, to answer on the association it came by.

        Raises:
            Conflict: this peer used the transaction's UID for other instances.
        """
        listed = [list(reference) for reference in instances]
        query = select(CommitmentRequest).where(
            CommitmentRequest.calling_ae == calling_ae, CommitmentRequest.transaction_uid == transaction_uid
        )

        def write(session: Session) -> CommitmentRequestRow:
            now = self._clock()
            found = session.scalars(query.with_for_update()).one_or_none()
            if found is None:
                found = CommitmentRequest(calling_ae=calling_ae, transaction_uid=transaction_uid, received_at=now)
                found.instances = listed
                session.add(found)
            elif found.instances != listed:
                raise Conflict(f"transaction {transaction_uid} was used for other instances", "transaction_uid")
            found.state, found.ended_at = ReportState.OWED.value, None
            found.next_attempt_at = now + timedelta(seconds=hold_s)
            session.flush()
            return _row(found)

        return self._database.run(write)

    def due(self, *, limit: int = 20) -> list[CommitmentRequestRow]:
        """Take requests whose answer is due, oldest first; nobody else is given them until the lease is over."""
        now = self._clock()
        query = select(CommitmentRequest).where(
            CommitmentRequest.state == ReportState.OWED.value, CommitmentRequest.next_attempt_at <= now
        )
        query = query.order_by(CommitmentRequest.id).limit(limit).with_for_update(skip_locked=True)
        with self._database.write() as session:
            taken = list(session.scalars(query))
            for row in taken:
                row.next_attempt_at, row.attempts = now + self._lease, row.attempts + 1
            session.flush()
            return [_row(row) for row in taken]

    def answered(self, request_id: int) -> None:
        """The peer took the answer. Raises NotFound."""
        self._end(request_id, ReportState.ANSWERED, None, "")

    def put_off(self, request_id: int, next_attempt_at: datetime | None, reason: str) -> None:
        """The peer did not take it; answer again at that time, or never where it is None. Raises NotFound."""
        state = ReportState.GIVEN_UP if next_attempt_at is None else ReportState.OWED
        self._end(request_id, state, next_attempt_at, reason)

    def _end(self, request_id: int, state: ReportState, next_at: datetime | None, reason: str) -> None:
        with self._database.write() as session:
            row = session.get(CommitmentRequest, request_id, with_for_update=True)
            if row is None:
                raise NotFound("commitment request", request_id)
            # Answered on one association while another sender was still trying: it stays answered.
            if row.state == ReportState.ANSWERED.value:
                return
            row.state, row.last_error = state.value, one_line(reason)
            row.next_attempt_at = next_at or row.next_attempt_at
            row.ended_at = None if state is ReportState.OWED else self._clock()

    def get(self, request_id: int) -> CommitmentRequestRow:
        """One request. Raises NotFound."""
        with self._database.read() as session:
            row = session.get(CommitmentRequest, request_id)
            if row is None:
                raise NotFound("commitment request", request_id)
            return _row(row)


def _row(request: CommitmentRequest) -> CommitmentRequestRow:
    return detached(
        CommitmentRequestRow,
        request,
        state=ReportState(request.state),
        instances=tuple((str(item[0]), str(item[1])) for item in request.instances),
    )
