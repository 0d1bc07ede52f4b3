"""Removing the received images of a study that is done with: rows first, then files, and whatever is cut off goes on.

An instance's row is kept, so that the same bytes are known when they come again. Its file is unlinked in a transaction
that still finds it marked as removed; coming again takes the mark away. A file goes only while nobody counts on it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, or_, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.files import FileStore
from storage.lifecycle import ScanState
from storage.outward_tables import Commitment, CommitmentRequest
from storage.retention_tables import Hold, Removal, RemovedInstance
from storage.rows import detached
from storage.tables import Delivery, Instance, Request, ResultObject, Run, Scan, Series, Study
from storage.transitions import add_event, locked_scan
from storage.vocabulary import CommitmentState, DeliveryState, ReportState, RunState

#: Files unlinked in one transaction.
_AT_ONCE = 50
_MOST_CANDIDATES = 500
#: A delivery that nothing is owed of; what is held back by a defect is not among them.
_DONE = (DeliveryState.SENT.value, DeliveryState.REPLACED.value, DeliveryState.WITHDRAWN.value)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A study whose images may go. done_at: when its last result was taken, or its images came again."""

    scan_id: str
    study_id: int
    done_at: datetime


@dataclass(frozen=True, kw_only=True)
class RemovalRow:
    """One removal, see `Removal`."""

    id: int
    study_id: int
    begun_at: datetime
    ended_at: datetime | None
    restored_at: datetime | None
    instances: int
    bytes: int
    why: str


class RemovalRepository:
    """What may be removed, what was, and the removing itself. committing: destinations asked for commitment."""

    def __init__(
        self, database: Database, files: FileStore, *, committing: Collection[str] = (), clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._files = files
        self._committing = tuple(committing)
        self._clock = clock

    def candidates(self, done_before: datetime) -> list[Candidate]:
        """Studies that were done with before, longest done first; not those on hold. Only a look: `begin` decides."""
        with self._database.read() as session:
            found = session.execute(self._query().limit(_MOST_CANDIDATES)).all()
            return [
                Candidate(scan_id=scan.id, study_id=scan.study_id, done_at=done_at)
                for scan, done_at in ((scan, _done_at(session, scan)) for (scan,) in found)
                if done_at is not None and done_at <= done_before and self._free_to_go(session, scan)
            ]

    def begin(self, scan_id: str, done_before: datetime, why: str) -> RemovalRow | None:
        """Mark the images of a scan as removed, in one transaction that looks at everything again; None: not now."""

        def work(session: Session) -> RemovalRow | None:
            locked_scan(session, scan_id)
            found = session.execute(self._query().where(Scan.id == scan_id)).one_or_none()
            if found is None:
                return None
            (scan,) = found
            done_at = _done_at(session, scan)
            if done_at is None or done_at > done_before or not self._free_to_go(session, scan):
                return None
            instances = list(session.scalars(_present(scan.study_id)))
            removal = Removal(study_id=scan.study_id, begun_at=self._clock(), why=why, instances=len(instances))
            removal.bytes = sum(one.size for one in instances)
            session.add(removal)
            session.flush()
            session.add_all(RemovedInstance(instance_id=one.id, removal_id=removal.id) for one in instances)
            text = f"{len(instances)} received images removed ({why}); results are kept"
            add_event(session, scan_id, "images-removed", text, self._clock(), {"bytes": removal.bytes})
            session.flush()
            return detached(RemovalRow, removal)

        return self._database.run(work)

    def unfinished(self) -> list[RemovalRow]:
        """Removals whose files are not all gone: begun just now, or cut off."""
        query = select(Removal).where(Removal.ended_at.is_(None)).order_by(Removal.id)
        with self._database.read() as session:
            return [detached(RemovalRow, row) for row in session.scalars(query)]

    def carry_out(self, removal_id: int) -> int:
        """Unlink what is still marked; how many files went. To be called again after a crash. Raises StorageError."""
        gone, after = 0, 0
        while True:
            removed, last = self._database.run(lambda session, after=after: self._unlink(session, removal_id, after))  # type: ignore[misc]
            gone += removed
            if last is None:
                break
            after = last

        def finish(session: Session) -> None:
            session.get_one(Removal, removal_id).ended_at = self._clock()

        self._database.run(finish)
        return gone

    def _unlink(self, session: Session, removal_id: int, after: int) -> tuple[int, int | None]:
        marks = (
            select(RemovedInstance)
            .where(RemovedInstance.removal_id == removal_id, RemovedInstance.instance_id > after)
            .order_by(RemovedInstance.instance_id)
            .limit(_AT_ONCE)
            .with_for_update()
        )
        marked = [mark.instance_id for mark in session.scalars(marks)]
        if not marked:
            return 0, None
        paths = session.scalars(select(Instance.path).where(Instance.id.in_(marked)))
        return sum(self._files.remove_received(path) for path in paths), marked[-1]

    def removed_of(self, study_id: int) -> frozenset[str]:
        """SOP Instance UIDs of a study whose files are removed now."""
        query = (
            select(Instance.sop_instance_uid)
            .join(RemovedInstance, RemovedInstance.instance_id == Instance.id)
            .join(Series, Instance.series_id == Series.id)
            .where(Series.study_id == study_id)
        )
        with self._database.read() as session:
            return frozenset(session.scalars(query))

    def last_of(self, study_id: int) -> RemovalRow | None:
        """The latest removal of a study's images."""
        query = select(Removal).where(Removal.study_id == study_id).order_by(Removal.id.desc()).limit(1)
        with self._database.read() as session:
            found = session.scalars(query).one_or_none()
            return None if found is None else detached(RemovalRow, found)

    def _query(self) -> Select[Any]:
        """Delivered scans with images: nothing owed or refused, commitments given, nothing asked, not on hold."""
        deliveries = (
            select(Delivery.id)
            .join(ResultObject, Delivery.result_object_id == ResultObject.id)
            .join(Run, ResultObject.run_id == Run.id)
            .where(Run.scan_id == Scan.id)
        )
        uncommitted = deliveries.outerjoin(Commitment, Commitment.delivery_id == Delivery.id).where(
            Delivery.destination.in_(self._committing),
            or_(Commitment.id.is_(None), Commitment.state != CommitmentState.COMMITTED.value),
        )
        held = or_(Hold.scan_id == Scan.id, Hold.patient_id == func.trim(Scan.patient_id))
        return (
            select(Scan)
            .where(
                Scan.status == ScanState.DELIVERED.value,
                Scan.late.is_(False),
                Scan.study_id.is_not(None),
                exists(deliveries),
                ~exists(deliveries.where(Delivery.state.not_in(_DONE))),
                ~exists(uncommitted),
                ~exists(select(Run.id).where(Run.scan_id == Scan.id, Run.state == RunState.RUNNING.value)),
                ~exists(select(Request.id).where(Request.scan_id == Scan.id, Request.handled_at.is_(None))),
                ~exists(select(Hold.id).where(Hold.released_at.is_(None), held)),
                exists(_present(Scan.study_id)),
            )
            .order_by(Scan.updated_at, Scan.id)
        )

    def _free_to_go(self, session: Session, scan: Scan) -> bool:
        """False while a peer waits for our word on an image of it (storage commitment)."""
        asked = session.scalars(select(CommitmentRequest).where(CommitmentRequest.state == ReportState.OWED.value))
        waited_for = {str(uid) for request in asked for _, uid in request.instances}
        if not waited_for:
            return True
        return waited_for.isdisjoint(one.sop_instance_uid for one in session.scalars(_present(scan.study_id)))


def _present(study_id: Any) -> Select[Any]:
    """The instances of a study whose files are here, the node's own that came back left out."""
    return (
        select(Instance)
        .join(Series, Instance.series_id == Series.id)
        .outerjoin(RemovedInstance, RemovedInstance.instance_id == Instance.id)
        .where(Series.study_id == study_id, RemovedInstance.instance_id.is_(None), Instance.own_object.is_(False))
    )


def _done_at(session: Session, scan: Scan) -> datetime | None:
    sent = session.scalar(
        select(func.max(Delivery.sent_at))
        .join(ResultObject, Delivery.result_object_id == ResultObject.id)
        .join(Run, ResultObject.run_id == Run.id)
        .where(Run.scan_id == scan.id)
    )
    came = session.scalar(select(Study.last_received_at).where(Study.id == scan.study_id))
    again = session.scalar(select(func.max(Removal.restored_at)).where(Removal.study_id == scan.study_id))
    return None if sent is None else max(at for at in (sent, came, again) if at is not None)
