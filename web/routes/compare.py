"""GET /api/compare: two scans beside one another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from web import compare as comparing
from web.compare import Comparison
from web.dependencies import Context, SignedIn
from web.problems import documented
from web.scan_requests import find_scan
from web.trail import record_view

router = APIRouter(prefix="/api/compare", tags=["scans"])

Chosen = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9-]+$", description="A scan's id.")]


@router.get("", responses=documented(401, 404, 422))
def compare_scans(first: Chosen, second: Chosen, request: Request, context: Context, session: SignedIn) -> Comparison:
    """Set two scans side by side: findings, measures and how far they differ, days between."""
    scans = [find_scan(context, scan_id) for scan_id in (first, second)]
    for scan in scans:
        record_view(context, request, "compare", user=session.user, scan_id=scan.id, what=f"{first} {second}")
    return comparing.compare(*scans)
