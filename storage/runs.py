"""Analysis runs: inputs frozen once, and one run for one set of inputs until another's results took its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.lifecycle import ScanEvent, ScanState, next_state
from storage.review_consequences import supersede
from storage.review_tables import Review
from storage.reviews import withheld_runs
from storage.rows import detached
from storage.tables import Delivery, ResultObject, Run
from storage.transitions import locked_scan, move
from storage.vocabulary import REJECTION_NOTE, DeliveryState, RunState


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One analysis. `inputs`: SOP Instance UIDs (for an upload: file names), sorted. `timings`: seconds by stage.

    `priors`: the runs of the patient's earlier studies that it is compared with, oldest first.
    `claimed` is True only in the answer to the `start_run` that moved the scan to `analysing`: of two workers that
    start the same scan at once, one sees True.
    """

    id: str
    scan_id: str
    number: int
    inputs: tuple[str, ...]
    inputs_digest: str
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    timings: dict[str, Any]
    priors: tuple[str, ...] = ()
    claimed: bool = False


def run_row(run: Run, *, claimed: bool = False) -> RunRow:
    """The run as it may leave this package."""
    return detached(
        RunRow, run, inputs=tuple(run.inputs), priors=tuple(run.priors), state=RunState(run.state), claimed=claimed
    )


def inputs_digest(inputs: Sequence[str], model_digest: str, priors: Sequence[str] = ()) -> str:
    """SHA-256 over the sorted inputs and whatever else decides the result (model hashes, role overrides, priors)."""
    # Without priors as before there were any: a run that is done stays the same run.
    told = f"{model_digest};priors={','.join(priors)}" if priors else model_digest
    return hashlib.sha256(json.dumps([sorted(set(inputs)), told]).encode()).hexdigest()


def run_of(session: Session, scan_id: str, digest: str) -> tuple[Run | None, str]:
    """The run these inputs lead to, None where it has yet to be made, and the digest that it has or is to have.

    Where another run was done after the latest of these inputs, its results took the place of theirs wherever they were
    sent: a new run sends what is to take the place of those. So it does for a run whose results a rejection note took
    back and a later review accepted after all. One that a review withholds stands whatever was done after it, so that
    its results do not leave as another run's.
    """
    query = select(Run.id, Run.number, Run.state, Run.inputs_digest).where(Run.scan_id == scan_id)
    runs = session.execute(query.order_by(Run.number)).all()
    digests = {digest, *(_repeated(digest, run.number) for run in runs)}
    same = next((run for run in reversed(runs) if run.inputs_digest in digests), None)
    if same is None:
        return None, digest
    last_done = max((run.number for run in runs if run.state == RunState.DONE), default=0)
    replaced = last_done > same.number or _taken_back(session, same.id)
    if replaced and session.scalar(withheld_runs().where(Review.run_id == same.id)) is None:
        return None, _repeated(digest, max(last_done, same.number))
    return session.get_one(Run, same.id), same.inputs_digest


def _taken_back(session: Session, run_id: str) -> bool:
    """Whether some destination has a rejection note of the run's results."""
    notes = select(Delivery.id).join(ResultObject, Delivery.result_object_id == ResultObject.id)
    notes = notes.where(ResultObject.run_id == run_id, ResultObject.kind == REJECTION_NOTE)
    return session.scalar(notes.where(Delivery.state == DeliveryState.SENT.value).limit(1)) is not None


def _repeated(digest: str, after: int) -> str:
    """The digest of a run that repeats one of this digest after the scan's run of that number."""
    return hashlib.sha256(f"{digest};after={after}".encode()).hexdigest()


def open_run(
    session: Session, scan_id: str, inputs: Sequence[str], model_digest: str, now: datetime, priors: Sequence[str] = ()
) -> RunRow:
    """See `ScanRepository.start_run`."""
    scan = locked_scan(session, scan_id)
    run, digest = run_of(session, scan_id, inputs_digest(inputs, model_digest, priors))
    if run is not None and scan.status != ScanState.READY and scan.run == run.number:
        return run_row(run)
    if run is not None and run.state == RunState.DONE:
        next_state(ScanState(scan.status), ScanEvent.UNCHANGED)  # one that came late does not change what is shown
        # Inputs a, then b whose run failed, then a again: the page must show what belongs to a.
        scan.run, scan.results, scan.finding = run.number, run.results, None
        supersede(session, scan, run)
        return run_row(run)
    move(session, scan, ScanEvent.START, "analysis started", now, {"inputs": len(set(inputs)), "digest": digest})
    if run is None:
        highest = session.scalar(select(func.max(Run.number)).where(Run.scan_id == scan_id)) or 0
        number = highest + 1
        run = Run(id=f"{scan_id}-{number}", scan_id=scan_id, number=number, inputs_digest=digest, timings={})
        run.inputs, run.priors = sorted(set(inputs)), list(priors)
        session.add(run)
    run.state, run.started_at, run.ended_at = RunState.RUNNING, now, None
    scan.run = run.number
    session.flush()
    return run_row(run, claimed=True)
