"""Analysis runs: inputs frozen once, and one run for one set of inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.lifecycle import ScanEvent, ScanState
from storage.rows import detached
from storage.tables import Run
from storage.transitions import locked_scan, move
from storage.vocabulary import RunState


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


def open_run(
    session: Session, scan_id: str, inputs: Sequence[str], model_digest: str, now: datetime, priors: Sequence[str] = ()
) -> RunRow:
    """See `ScanRepository.start_run`."""
    scan = locked_scan(session, scan_id)
    digest = inputs_digest(inputs, model_digest, priors)
    run = session.scalars(select(Run).where(Run.scan_id == scan_id, Run.inputs_digest == digest)).one_or_none()
    if run is not None and run.state == RunState.DONE:
        # Inputs a, then b, then a again: the page must show what belongs to a.
        scan.run, scan.results, scan.finding = run.number, run.results, None
        return run_row(run)
    if run is not None and scan.status != ScanState.READY and scan.run == run.number:
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
