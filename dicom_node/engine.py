"""The durable job engine (dbos) behind one small door: a workflow per analysis run, a step per stage.

A crash resumes at the step that was cut off; a step may therefore run twice, and every handler must be idempotent.
Only run ids pass through the engine's database, as JSON. Traps this module answers (found by trial, dbos 3.4): the
executor id must be unique per live process, the application version must not follow the source's hash, the default
serializer is pickle, and `register_queue` works only after launch.

What is done afterwards, for the record alone, is a workflow of its own on a queue of its own: it delays no study's
steps, and its failure is no study's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy.exc import DBAPIError

from dicom_node.errors import Transient

log = structlog.get_logger("engine")

ANALYSIS_QUEUE = "analysis"
AFTERWARDS_QUEUE = "afterwards"
_APPLICATION_NAME = "brain-tumor-node"
#: Workflows outlive an upgrade only if their version does not change with every release; raise it when steps change.
_WORKFLOW_VERSION = "1"
_AFTERWARDS = "afterwards-"
_PENDING = ("ENQUEUED", "PENDING", "DELAYED")
#: A run whose process died this often in the middle is poison: it is parked and blocks nobody.
_MOST_RECOVERIES = 5
_MOST_RECOVERIES_AFTERWARDS = 3


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage of a run. handler: takes the run id; must be idempotent."""

    name: str
    handler: Callable[[str], None]


class Engine:
    """Runs `steps` in order for every submitted run id, durably, one run at a time in this process.

    `on_failure(run_id, error)` is called when a step raised an error that retrying does not mend; one that may pass is
    tried `attempts` times with doubled waits first. `afterwards` is run for every run whose steps all succeeded.
    """

    def __init__(
        self,
        *,
        database_url: str,
        executor_id: str,
        steps: Sequence[Step],
        on_failure: Callable[[str, Exception], None],
        afterwards: Step | None = None,
        attempts: int = 3,
        poll_s: float = 0.5,
    ) -> None:
        self._poll_s = poll_s
        config: DBOSConfig = {
            "name": _APPLICATION_NAME,
            "system_database_url": database_url,
            "executor_id": executor_id,
            "application_version": _WORKFLOW_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "max_executor_threads": 4,
        }
        DBOS(config=config)

        def run(step: Step, run_id: str) -> None:
            DBOS.run_step(
                {
                    "name": step.name,
                    "retries_allowed": True,
                    "max_attempts": attempts,
                    "interval_seconds": 2.0,
                    "backoff_rate": 2.0,
                    "should_retry": _may_pass,
                },
                step.handler,
                run_id,
            )

        @DBOS.workflow(name="afterwards", max_recovery_attempts=_MOST_RECOVERIES_AFTERWARDS)
        def after(run_id: str) -> None:
            try:
                if afterwards is not None:
                    run(afterwards, run_id)
            except Exception as error:  # for the record alone: the run is done and its results are on their way
                log.error("not recorded", step="afterwards", run=run_id, exc_info=_cause(error))

        @DBOS.workflow(name="analysis", max_recovery_attempts=_MOST_RECOVERIES)
        def analysis(run_id: str) -> None:
            try:
                for step in steps:
                    run(step, run_id)
            except (
                Exception
            ) as error:  # the one broad catch of a run: whatever a step raised becomes the scan's failure
                on_failure(run_id, _cause(error))
                return
            if afterwards is not None:
                with SetWorkflowID(f"{_AFTERWARDS}{DBOS.workflow_id}"):
                    DBOS.enqueue_workflow(AFTERWARDS_QUEUE, after, run_id)

        self._workflow = analysis
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Open the job database, take up this executor's unfinished runs and begin to serve the queue."""
        DBOS.launch()
        for queue in (ANALYSIS_QUEUE, AFTERWARDS_QUEUE):
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=self._poll_s)

    def stop(self, finish_within_s: float = 0.0) -> None:
        """Take no more runs, let the one under way end within this time, and stop; one cut off here resumes later."""
        self._stopping.set()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=math.ceil(finish_within_s))

    def submit(self, run_id: str, attempt: str) -> None:
        """Queue a run. The same run and attempt submitted again, from anywhere, changes nothing."""
        with SetWorkflowID(_workflow_id(run_id, attempt)):
            DBOS.enqueue_workflow(ANALYSIS_QUEUE, self._workflow, run_id)

    def gave_up(self, run_id: str, attempt: str) -> str | None:
        """Why the engine will not go on with this attempt; None where it will, or does not know it yet."""
        ids = [_workflow_id(run_id, attempt)]
        for status in DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False):
            if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
                return f"the worker died {_MOST_RECOVERIES} times in this run; the study is kept and blocks nobody"
            if status.status in ("ERROR", "CANCELLED"):
                return "the run ended in the engine without an outcome; see the worker's log, then retry"
        return None

    def take_over(self, executor_id: str) -> int:
        """Put a dead executor's unfinished runs back on the queue; returns how many."""
        runs = DBOS.list_workflows(status="PENDING", executor_id=executor_id, load_input=False, load_output=False)
        for run in runs:
            afterwards = run.workflow_id.startswith(_AFTERWARDS)
            DBOS.resume_workflow(run.workflow_id, queue_name=AFTERWARDS_QUEUE if afterwards else ANALYSIS_QUEUE)
        return len(runs)

    def unfinished(self) -> int:
        """Number of runs queued or under way."""
        return len(DBOS.list_workflows(status=list(_PENDING), load_input=False, load_output=False))


def _workflow_id(run_id: str, attempt: str) -> str:
    return f"analysis-{run_id}-{attempt}"


def _may_pass(error: BaseException) -> bool:
    """Worth another try: what says so of itself, a file that cannot be read just now, a database that restarts."""
    return isinstance(error, (Transient, OSError, DBAPIError)) or bool(getattr(error, "transient", False))


def _cause(error: Exception) -> Exception:
    """The handler's own error where dbos wrapped it after the last retry."""
    wrapped = getattr(error, "errors", None)
    if wrapped:
        last = wrapped[-1]
        if isinstance(last, Exception):
            return last
    return error
