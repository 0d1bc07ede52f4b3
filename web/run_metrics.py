"""Prometheus metrics of analyses, gathered from the rows of runs that ended since the scrape before."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, Counter, Histogram

from storage.errors import StorageError
from storage.run_figures import RunFigureRepository, RunFigures


class RunMetrics:
    """Counts from the start of this process on; with several web processes each counts every run."""

    def __init__(self, registry: CollectorRegistry, runs: RunFigureRepository) -> None:
        self._figures = runs
        self._place = (runs.now(), "")
        self._lock = threading.Lock()
        self._runs = Counter("btn_runs_total", "Analyses that ended.", ("state",), registry=registry)
        self._seconds = Histogram(
            "btn_stage_seconds",
            "Seconds of each stage of an analysis.",
            ("stage",),
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
            registry=registry,
        )
        self._flags = Counter("btn_flags_total", "Flags raised in reports.", ("code",), registry=registry)
        self._skipped = Counter(
            "btn_stages_skipped_total", "Stages that did not run.", ("stage", "code"), registry=registry
        )

    def collect(self) -> None:
        """Count what ended since the last call. Where the database is away, the next call does it."""
        with self._lock:
            try:
                while ended := self._figures.ended_since(*self._place):
                    for run in ended:
                        self._count(run)
                    self._place = (ended[-1].ended_at, ended[-1].run_id)
            except StorageError:
                return

    def _count(self, run: RunFigures) -> None:
        self._runs.labels(run.state.value).inc()
        for stage, seconds in run.seconds.items():
            self._seconds.labels(stage).observe(seconds)
        for code in run.flags:
            self._flags.labels(code).inc()
        for stage, code in run.skipped:
            self._skipped.labels(stage, code).inc()
