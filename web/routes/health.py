"""/health/live, /health/ready and /metrics: for probes and Prometheus, without sign-in and without patients."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from web.dependencies import Context
from web.health import Check
from web.schemas import CheckOut, HealthOut, LiveOut

router = APIRouter(tags=["health"])


@router.get("/health/live")
def live() -> LiveOut:
    """Answer while the process runs."""
    return LiveOut(status="ok")


def _shown(check: Check) -> CheckOut:
    return CheckOut(name=check.name, ok=check.ok, detail=check.detail)


@router.get("/health/ready", responses={503: {"model": HealthOut, "description": "Studies cannot be taken now."}})
def ready(response: Response, context: Context) -> HealthOut:
    """Tell whether studies can be taken (200) or not (503), and what each model says of itself."""
    report = context.health()
    if not report.ready:
        response.status_code = 503
    return HealthOut(
        status=report.status,
        checks=[_shown(check) for check in report.checks],
        models=[_shown(model) for model in report.models],
        destinations=[_shown(destination) for destination in report.destinations],
        queue_length=report.queue_length,
        queue_age_s=report.queue_age_s,
        delivery_age_s=report.delivery_age_s,
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(context: Context) -> Response:
    """Return the metrics Prometheus collects."""
    return Response(context.metrics.render(context.health(), context.models()), media_type=CONTENT_TYPE_LATEST)
