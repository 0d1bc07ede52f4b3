"""Scans: what people see, and the only way their state changes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.orm import defer

from storage.clock import Clock, utc_now
from storage.columns import UtcDateTime
from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import ScanEvent, ScanState, targets
from storage.runs import RunRow, inputs_digest, open_run, run_of, run_row
from storage.scan_pages import LinePage, Order, ScanFilter, ScanPage, read_lines, read_page
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.tables import Run, Scan, Study
from storage.transitions import add_event, locked_scan, move
from storage.vocabulary import RunState, Source


class ScanRepository:
    """Scans and their runs."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def get(self, scan_id: str) -> ScanRow:
        """The scan. Raises NotFound."""
        row = self._one(Scan.id == scan_id)
        if row is None:
            raise NotFound("scan", scan_id)
        return row

    def results_of(self, scan_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The reports of those of the scans that have one."""
        with self._database.read() as session:
            found = session.execute(select(Scan.id, Scan.results).where(Scan.id.in_(scan_ids)))
            return {scan_id: results for scan_id, results in found if results is not None}

    def changed_since(self, at: datetime, scan_id: str = "", limit: int = 200) -> list[ScanRow]:
        """Scans changed after (`at`, `scan_id`), the longest ago first, without their results."""
        later = tuple_(Scan.updated_at, Scan.id) > tuple_(literal(at, UtcDateTime()), literal(scan_id))
        query = scan_query().options(defer(Scan.results)).where(later).order_by(Scan.updated_at, Scan.id).limit(limit)
        with self._database.read() as session:
            return [scan_row(scan, uid, with_results=False) for scan, uid in session.execute(query)]

    def by_study(self, study_instance_uid: str) -> ScanRow | None:
        """The scan of a study, None where there is none."""
        return self._one(Study.study_instance_uid == study_instance_uid)

    def _one(self, condition: Any) -> ScanRow | None:
        with self._database.read() as session:
            found = session.execute(scan_query().where(condition)).one_or_none()
            return None if found is None else scan_row(*found)

    def in_states(self, *states: ScanState, limit: int = 1000) -> list[ScanRow]:
        """Scans in any of `states`, longest unchanged first, without their results."""
        query = scan_query().where(Scan.status.in_([state.value for state in states]))
        with self._database.read() as session:
            found = session.execute(query.order_by(Scan.updated_at, Scan.id).limit(limit)).all()
            return [scan_row(scan, uid, with_results=False) for scan, uid in found]

    def count_by_state(self) -> dict[ScanState, int]:
        """How many scans are in each state; states without any are there with 0."""
        with self._database.read() as session:
            shown = select(Scan.status, func.count()).where(Scan.deleted_at.is_(None))
            found = session.execute(shown.group_by(Scan.status)).all()
        counts = {row[0]: row[1] for row in found}
        return {state: counts.get(state.value, 0) for state in ScanState}

    def list_page(
        self,
        cursor: str | None = None,
        limit: int = 50,
        filters: ScanFilter | None = None,
        *,
        order: Order = "newest",
        with_results: bool = True,
    ) -> ScanPage:
        """One page by creation time. Rows that are added meanwhile neither shift nor repeat those of the next page.

        Raises:
            InvalidQuery: a limit outside 1..200, another order, or a cursor that was edited or is of another list.
        """
        with self._database.read() as session:
            return read_page(session, cursor, limit, filters or ScanFilter(), order, with_results)

    def list_lines(
        self, cursor: str | None = None, limit: int = 50, filters: ScanFilter | None = None, *, order: Order = "newest"
    ) -> LinePage:
        """One page as `list_page`, of what a list shows alone: quicker, and without results. Raises InvalidQuery."""
        with self._database.read() as session:
            return read_lines(session, cursor, limit, filters or ScanFilter(), order)

    def create_upload(
        self,
        source: Source,
        *,
        user_id: int | None,
        patient_id: str = "",
        patient_name: str = "",
        scan_date: str = "",
        modalities: Sequence[str] = (),
        scan_id: str | None = None,
    ) -> ScanRow:
        """A scan in state `received` for files a person sent. Apply `complete` when they are all on disk."""
        now = self._clock()
        scan = Scan(
            id=scan_id or str(uuid.uuid4()),
            user_id=user_id,
            patient_id=patient_id,
            patient_name=patient_name,
            scan_date=scan_date,
            modalities=list(modalities),
            source=Source(source).value,
            status=ScanState.RECEIVED.value,
            created_at=now,
            updated_at=now,
        )

        with self._database.write() as session:
            session.add(scan)
            session.flush()
            add_event(session, scan.id, "received", "uploaded", now, {"source": scan.source})
            session.flush()
            return scan_row(scan, None)

    def apply_event(self, scan_id: str, event: ScanEvent, text: str = "", **data: Any) -> ScanRow:
        """Move the scan and write the event row, in one transaction. `error_code=` goes with `fail` and `reject`.

        Raises:
            NotFound; ImpossibleTransition: nothing was changed.
        """
        return self._apply(scan_id, event, text, data, once=False)

    def apply_event_once(self, scan_id: str, event: ScanEvent, text: str = "", **data: Any) -> ScanRow:
        """As `apply_event`, but nothing where the scan already is where `event` leads: for steps that may run twice."""
        return self._apply(scan_id, event, text, data, once=True)

    def _apply(self, scan_id: str, event: ScanEvent, text: str, data: dict[str, Any], *, once: bool) -> ScanRow:
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            if not (once and scan.status in targets(event)):
                move(session, scan, event, text, self._clock(), data)
            session.flush()
            return scan_row(*session.execute(scan_query().where(Scan.id == scan_id)).one())

    def set_progress(self, scan_id: str, progress: int, step: str) -> None:
        """How far the pipeline is: 0 to 100, and the step's name. Raises ValueError, NotFound."""
        if not 0 <= progress <= 100:
            raise ValueError(f"progress is a percentage, not {progress}")
        self._set(scan_id, progress=progress, pipeline_step=step)

    def set_results(self, scan_id: str, results: dict[str, Any], finding: str | None = None) -> None:
        """The report as JSON and in one line. To be set before `finish_run`, which keeps a copy with the run."""
        self._set(scan_id, results=results, finding=finding)

    def set_waiting(self, scan_id: str, waiting_for: str) -> None:
        """What the completeness rule waits for, in words for the page. Writes nothing where it is unchanged."""
        if self.get(scan_id).waiting_for != waiting_for:
            self._set(scan_id, waiting_for=waiting_for)

    def _set(self, scan_id: str, **values: Any) -> None:
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            for name, value in values.items():
                setattr(scan, name, value)
            scan.updated_at = self._clock()

    def start_run(
        self, scan_id: str, inputs: Sequence[str], model_digest: str = "", priors: Sequence[str] = ()
    ) -> RunRow:
        """Freeze the inputs and take the scan: `ready` becomes `analysing` in the same transaction.

        The same inputs and `model_digest` give the same run: one that is running or failed is taken up again, one
        that is done is returned as it is (apply `unchanged`), the scan shows its results again and what waits of other
        runs is not sent any more. Where another run was done since, a new one is made, unless a review withholds it.

        Args:
            inputs: SOP Instance UIDs, in any order.
            model_digest: all else that decides the result: model hashes and role overrides.
            priors: runs of earlier studies that this one is compared with; they decide the result too.

        Raises:
            NotFound; ImpossibleTransition: the scan is not `ready` (another worker took it with other inputs, or a
            new instance came and it is assembling again).
        """
        return self._database.run(
            lambda session: open_run(session, scan_id, inputs, model_digest, self._clock(), priors)
        )

    def has_result(
        self, scan_id: str, inputs: Sequence[str], model_digest: str = "", priors: Sequence[str] = ()
    ) -> bool:
        """True where a run of just these is done: `start_run` would return it and analyse nothing."""
        with self._database.read() as session:
            run, _ = run_of(session, scan_id, inputs_digest(inputs, model_digest, priors))
            return run is not None and run.state == RunState.DONE

    def finish_run(self, run_id: str, state: RunState, timings: dict[str, float] | None = None) -> RunRow:
        """Close a run as done or failed. A run that is done stays done. Raises NotFound."""
        with self._database.write() as session:
            run = session.get(Run, run_id, with_for_update=True)
            if run is None:
                raise NotFound("run", run_id)
            if run.state != RunState.DONE:
                run.state, run.ended_at, run.timings = RunState(state).value, self._clock(), dict(timings or {})
                if run.state == RunState.DONE:
                    run.results = session.scalar(select(Scan.results).where(Scan.id == run.scan_id))
            return run_row(run)

    def run(self, run_id: str) -> RunRow:
        """The run. Raises NotFound."""
        with self._database.read() as session:
            run = session.get(Run, run_id)
            if run is None:
                raise NotFound("run", run_id)
            return run_row(run)

    def runs_of(self, scan_id: str) -> list[RunRow]:
        """The runs of a scan, first to last."""
        with self._database.read() as session:
            found = session.scalars(select(Run).where(Run.scan_id == scan_id).order_by(Run.number))
            return [run_row(run) for run in found]
