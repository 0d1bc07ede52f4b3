"""Prometheus metrics of one application: requests as they end, the node's condition when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.run_figures import RunFigureRepository
from storage.vocabulary import ReviewVerdict
from web.access_log import AccessLog, Entry
from web.health import HealthReport, InstalledModel
from web.run_metrics import RunMetrics


class Metrics:
    """A registry of its own, so that two applications in one process do not meet."""

    def __init__(
        self,
        runs: RunFigureRepository | None = None,
        reviews: Callable[[], Mapping[ReviewVerdict, int]] | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        self._reviews = reviews
        self._verdicts = Gauge("btn_reviews", "Runs under each verdict.", ("verdict",), registry=self._registry)
        self._runs = None if runs is None else RunMetrics(self._registry, runs)
        self._requests = Counter(
            "btn_http_requests_total", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "btn_http_request_seconds",
            "Seconds until the answer was sent.",
            ("route",),
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=self._registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._ready = Gauge("btn_ready", "1 where studies can be taken and kept.", registry=self._registry)
        self._model_ok = Gauge("btn_model_ok", "1 where the model can be used.", ("model",), registry=self._registry)
        self._check_ok = Gauge("btn_check_ok", "1 where the check passed.", ("check",), registry=self._registry)
        self._destination_ok = Gauge(
            "btn_destination_ok",
            "0 where the destination refuses everything.",
            ("destination",),
            registry=self._registry,
        )
        self._receiver_ok = Gauge(
            "btn_receiver_ok", "0 where the listener takes no association.", ("receiver",), registry=self._registry
        )
        self._backlog = Gauge("btn_receive_backlog_bytes", "Received and not indexed yet.", registry=self._registry)
        self._queue = Gauge("btn_queue_length", "Scans waiting or in work.", registry=self._registry)
        self._queue_age = Gauge("btn_queue_age_seconds", "Age of the oldest of them.", registry=self._registry)
        self._owed_age = Gauge("btn_delivery_age_seconds", "Age of the oldest owed object.", registry=self._registry)
        self._owed = Gauge("btn_owed_objects", "Objects owed.", ("destination",), registry=self._registry)
        self._owed_to_age = Gauge(
            "btn_owed_age_seconds", "Age of the oldest owed object.", ("destination",), registry=self._registry
        )
        self._states = Gauge("btn_scans", "Scans in each state.", ("state",), registry=self._registry)
        self._disk = Gauge("btn_disk_free_bytes", "Free where studies are kept.", registry=self._registry)
        self._damaged = Gauge("btn_damaged_files", "Files found damaged at rest so far.", registry=self._registry)
        self._missing = Gauge(
            "btn_images_missing", "Of them, received images that have not come again.", registry=self._registry
        )
        self._models = Gauge(
            "btn_model_info",
            "1 for each installed model.",
            ("model", "task", "version", "mode", "sha256"),
            registry=self._registry,
        )

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request. route: the template, never the path, which may name a patient's scan."""
        children = self._children.get((method, route, status))
        if children is None:
            children = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._children[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def render(self, report: HealthReport, models: Sequence[InstalledModel] = ()) -> bytes:
        """Return the text exposition with the node's condition as it is now."""
        if self._runs is not None:
            self._runs.collect()
        for verdict, count in {} if self._reviews is None else self._reviews().items():
            self._verdicts.labels(verdict.value).set(count)
        for gauge in (self._models, self._owed, self._owed_to_age, self._states, self._model_ok, self._destination_ok):
            gauge.clear()  # what is gone since the last scrape is not to stay as it was
        for installed in models:
            labels = (installed.name, installed.task, installed.version, installed.mode, installed.sha256)
            self._models.labels(*labels).set(1)
        for owed in report.owed:
            self._owed.labels(owed.destination).set(owed.objects)
            self._owed_to_age.labels(owed.destination).set(owed.age_s)
        for state, count in report.scans_by_state.items():
            self._states.labels(state).set(count)
        if report.disk_free_bytes is not None:
            self._disk.set(report.disk_free_bytes)
        self._damaged.set(report.damaged_files)
        self._missing.set(report.images_missing)
        self._ready.set(report.ready)
        for model in report.models:
            self._model_ok.labels(model.name).set(model.ok)
        for check in report.checks:
            self._check_ok.labels(check.name).set(check.ok)
        for destination in report.destinations:
            self._destination_ok.labels(destination.name).set(destination.ok)
        for receiver in report.receivers:
            self._receiver_ok.labels(receiver.name).set(receiver.ok)
        self._backlog.set(report.backlog_bytes)
        self._queue.set(report.queue_length)
        self._queue_age.set(report.queue_age_s or 0)
        self._owed_age.set(report.delivery_age_s or 0)
        return generate_latest(self._registry)


class RequestMetrics:
    """ASGI middleware that times each request, and tells the access log of it where there is one."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: AccessLog | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        sent = 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - started
            self._metrics.observe(method=method, route=route, status=status, seconds=seconds)
            if self._access_log is not None:
                peer = scope.get("client")
                self._access_log(
                    Entry(
                        method=method,
                        route=route,
                        status=status,
                        seconds=round(seconds, 4),
                        bytes_sent=sent,
                        address=peer[0] if peer else "unknown",
                    )
                )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
