"""The worker: loads the models once, runs what the engine hands out, watches open studies and empties the outbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from dicom_node.closing import close_delivered
from dicom_node.engine import Engine
from dicom_node.intake import Intake
from dicom_node.models_status import write_models_status
from dicom_node.outbound.delivery import Deliverer
from pipeline.models.catalogue import ModelStatus
from storage.clock import Clock
from storage.deliveries import DeliveryRepository
from storage.errors import StorageError
from storage.files import FileStore
from storage.heartbeats import HeartbeatRepository
from storage.reviews import ReviewRepository
from storage.scans import ScanRepository

log = structlog.get_logger("worker")

_HEARTBEAT_S = 10.0


class Worker:
    """The parts of a worker process and its loops. `start` returns when the engine serves; `stop` joins the loops.

    finish_within_s: a run under way may end in this time when the worker is stopped; then it is parked.
    also: further loops, each a name, one pass and the seconds between passes; each has a thread of its own.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        intake: Intake,
        deliverer: Deliverer,
        deliveries: DeliveryRepository,
        reviews: ReviewRepository,
        scans: ScanRepository,
        heartbeats: HeartbeatRepository,
        files: FileStore,
        load_models: Callable[[], Sequence[ModelStatus]],
        executor_id: str,
        intake_every_s: float,
        deliver_every_s: float,
        takeover_after_s: float,
        finish_within_s: float = 0.0,
        clock: Clock,
        also: Sequence[tuple[str, Callable[[], object], float]] = (),
    ) -> None:
        self._engine = engine
        self._intake = intake
        self._deliverer = deliverer
        self._deliveries = deliveries
        self._reviews = reviews
        self._scans = scans
        self._heartbeats = heartbeats
        self._files = files
        self._load_models = load_models
        self._executor_id = executor_id
        self._finish_within_s = finish_within_s
        self._takeover_after = timedelta(seconds=takeover_after_s)
        self._clock = clock
        self._stopping = threading.Event()
        self._loops: list[tuple[str, Callable[[], object], float]] = [
            ("delivery", self._deliver, deliver_every_s),
            ("heartbeat", self._beat, _HEARTBEAT_S),
            ("intake", self._intake.tick, intake_every_s),
            *also,
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Say what the models are, take up unfinished runs, begin the loops."""
        statuses = self._load_models()
        write_models_status(self._files, statuses)
        for status in statuses:
            (log.info if status.ok else log.error)("model", model=status.name, ok=status.ok, detail=status.detail)
        self._heartbeats.beat(self._executor_id, "work")
        self._engine.start()
        for name, action, every_s in self._loops:
            thread = threading.Thread(target=self._repeat, args=(name, action, every_s), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the loops and the engine; what is under way resumes at the next start."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5.0)
        ended = threading.Event()
        # While a run may end, the others must not take this worker for dead.
        beating = threading.Thread(target=self._beat_until, args=(ended,), daemon=True)
        beating.start()
        self._engine.stop(self._finish_within_s)
        ended.set()
        beating.join(timeout=5.0)
        self._heartbeats.forget(self._executor_id)

    def _beat_until(self, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT_S):
            try:
                self._heartbeats.beat(self._executor_id, "work")
            except StorageError as error:
                log.error("no heartbeat", error=type(error).__name__)

    def _repeat(self, name: str, action: Callable[[], object], every_s: float) -> None:
        while not self._stopping.is_set():
            try:
                action()
            except Exception as error:  # a loop of the worker outlives a full disk or a database that restarts
                log.error("loop failed, goes on", loop=name, error=type(error).__name__, exc_info=error)
            self._stopping.wait(every_s)

    def _deliver(self) -> None:
        self._deliverer.deliver_due()
        close_delivered(self._scans, self._deliveries, self._reviews)

    def _beat(self) -> None:
        self._heartbeats.beat(self._executor_id, "work")
        for silent in self._heartbeats.stale(self._takeover_after):
            if silent.executor_id != self._executor_id and self._heartbeats.forget(silent.executor_id, silent.at):
                taken = self._engine.take_over(silent.executor_id)
                log.warning("took over a silent worker's runs", executor=silent.executor_id, runs=taken)
