"""The follow-up page of a scan: two dates side by side, the curve, the table of change, the suggested categories."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline.overlay import Plane
from web.dependencies import Context
from web.earlier_visits import earlier_visits
from web.follow_up_view import CURVES, NAMES, changes_of, curve_of, follow_up_of
from web.images import NoImages
from web.pages import Visitor, render
from web.routes.scans import ScanId
from web.scan_requests import find_scan
from web.shown_runs import shown_run
from web.trail import record

router = APIRouter(include_in_schema=False)


@router.get("/scans/{scan_id}/follow-up")
def follow_up_page(
    scan_id: ScanId,
    request: Request,
    context: Context,
    session: Visitor,
    earlier: Annotated[str, Query(max_length=64)] = "",
    axis: Plane = Plane.AXIAL,
    number: Annotated[int | None, Query(ge=1, le=10_000, description="Of the slice, from 1.")] = None,
    opacity: Annotated[int, Query(ge=0, le=100)] = 45,
) -> Response:
    """Show a scan among the earlier visits of its patient."""
    scan = find_scan(context, scan_id)
    record(context, request, "view-scan", user=session.user, scan_id=scan_id, what="follow-up")
    run = shown_run(context, scan)
    follow_up = follow_up_of(scan.results)
    others = earlier_visits(context, run.id) if run else []
    planes = None
    if run and others:
        try:
            planes = {one.plane: one for one in context.slices.planes(context.files.run_folder(run.id)).planes}
        except NoImages:
            others = []
    chosen = next((one for one in others if one.scan_id == earlier), others[0] if others else None)
    place = planes[axis] if planes else None
    rows = context.visits.of_runs(tuple(visit.key for visit in follow_up.visits)) if follow_up else []
    return render(
        request,
        context,
        "follow_up.html",
        session,
        here="scans",
        scan=scan,
        follow_up=follow_up,
        scan_of={row.run_id: row.scan_id for row in rows},
        curve=curve_of(follow_up.visits) if follow_up else None,
        regions=[(region, NAMES[region]) for region in CURVES],
        changes=changes_of(follow_up) if follow_up else [],
        others=others,
        chosen=chosen,
        axis=axis.value,
        place=place,
        index=min(number - 1, place.count - 1) if place and number else place.start if place else 0,
        opacity=opacity,
    )
