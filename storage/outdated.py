"""Studies whose results came from other models than are active now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select

from storage.database import Database
from storage.lifecycle import ScanState
from storage.model_tables import ModelAnswer
from storage.retention_tables import RemovedInstance
from storage.tables import Instance, Request, Run, Scan, Series, Study
from storage.vocabulary import AnswerMode, RequestKind, RunState

_WAITING = (ScanState.READY, ScanState.ANALYSING, ScanState.REPORTING)


@dataclass(frozen=True, kw_only=True)
class Outdated:
    """A delivered scan. tasks: those that another version answered."""

    scan_id: str
    received_at: datetime
    tasks: tuple[str, ...]


def outdated_scans(
    database: Database, active: Mapping[str, frozenset[str]], since: datetime | None, limit: int
) -> list[Outdated]:
    """Delivered scans, the latest first, of which a task that was answered is answered by another model now.

    active: by task the SHA-256 of every model that may answer it now. since: only studies received from then on. Scans
    that are deleted, or whose images were removed, are left out.
    """
    removed = (
        select(RemovedInstance.instance_id)
        .join(Instance, Instance.id == RemovedInstance.instance_id)
        .join(Series, Series.id == Instance.series_id)
        .where(Series.study_id == Scan.study_id)
    )
    query = (
        select(Scan.id, Study.last_received_at, ModelAnswer.task, ModelAnswer.sha256)
        .join(Study, Study.id == Scan.study_id)
        .join(Run, (Run.scan_id == Scan.id) & (Run.number == Scan.run))
        .join(ModelAnswer, ModelAnswer.run_id == Run.id)
        .where(
            Scan.status == ScanState.DELIVERED.value,
            Scan.deleted_at.is_(None),
            Run.state == RunState.DONE.value,
            ModelAnswer.mode != AnswerMode.SHADOW.value,
            ~exists(removed),
        )
        .order_by(Study.last_received_at.desc(), Scan.id, ModelAnswer.task)
    )
    if since is not None:
        query = query.where(Study.last_received_at >= since)
    found: dict[str, tuple[datetime, set[str]]] = {}
    with database.read() as session:
        for scan_id, received_at, task, sha256 in session.execute(query):
            if active.get(task) and sha256 not in active[task]:
                found.setdefault(scan_id, (received_at, set()))[1].add(task)
                if len(found) > limit:
                    break
    rows = [Outdated(scan_id=key, received_at=at, tasks=tuple(sorted(tasks))) for key, (at, tasks) in found.items()]
    return rows[:limit]


def waiting_analyses(database: Database) -> int:
    """Scans that wait for a worker or are in its hands, and those whose analysis was asked for."""
    with database.read() as session:
        scans = select(func.count()).select_from(Scan).where(Scan.status.in_([state.value for state in _WAITING]))
        asked = select(func.count()).select_from(Request)
        asked = asked.where(Request.kind == RequestKind.RETRY.value, Request.handled_at.is_(None))
        return (session.scalar(scans) or 0) + (session.scalar(asked) or 0)
