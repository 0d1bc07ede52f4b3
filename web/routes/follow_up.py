"""A slice of an earlier visit as it lies on a slice of a later one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from pipeline.overlay import Plane
from web.dependencies import Context, SignedIn
from web.earlier_visits import earlier_visits
from web.images import NoImages, NoSuchSlice
from web.problems import Problem, documented
from web.routes.images import SliceIndex
from web.routes.scans import ScanId
from web.scan_requests import find_scan
from web.shown_runs import shown_run
from web.trail import record_view

router = APIRouter(prefix="/api/scans", tags=["images"])

_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    "/{scan_id}/earlier/{earlier_id}/slice/{index}", response_class=Response, responses=_PNG | documented(401, 404, 422)
)
def earlier_slice(
    scan_id: ScanId,
    earlier_id: ScanId,
    index: SliceIndex,
    request: Request,
    context: Context,
    session: SignedIn,
    axis: Plane = Plane.AXIAL,
    opacity: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.45,
) -> Response:
    """Return the reference series and segmentation of an earlier visit, laid on one slice of this scan, as PNG."""
    scan = find_scan(context, scan_id)
    find_scan(context, earlier_id)
    run = shown_run(context, scan)
    visits = earlier_visits(context, run.id) if run else []
    visit = next((one for one in visits if one.scan_id == earlier_id), None)
    if run is None or visit is None:
        raise Problem(404, "not-compared", "These two scans were not laid on one another.")
    for one in (scan_id, earlier_id):
        record_view(context, request, "view-images", user=session.user, scan_id=one)
    folders = context.files.run_folder(run.id), context.files.run_folder(visit.run_id)
    try:
        png = context.slices.png_on(*folders, visit.to_visit, axis, index, opacity)
    except NoImages as error:
        raise Problem(404, "no-images", f"{error}.".capitalize()) from error
    except NoSuchSlice as error:
        raise Problem(404, "no-slice", f"This axis has slices 0 to {error.count - 1}.") from error
    return Response(png, media_type="image/png")
