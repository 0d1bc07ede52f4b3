"""The images of a scan as a plain page: three planes by number, for browsers without JavaScript."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline.overlay import Plane
from pipeline.volume import SeriesRole
from web.dependencies import Context
from web.images import NoImages, shown_series
from web.pages import Visitor, render
from web.problems import Problem
from web.routes.scans import ScanId
from web.scan_requests import find_scan
from web.shown_runs import shown_run
from web.trail import record_view

router = APIRouter(include_in_schema=False)

Number = Annotated[int | None, Query(ge=1, le=10_000)]


@router.get("/scans/{scan_id}/images")
def images_page(
    scan_id: ScanId,
    request: Request,
    context: Context,
    session: Visitor,
    axial: Number = None,
    coronal: Number = None,
    sagittal: Number = None,
    series: SeriesRole | None = None,
    opacity: Annotated[int, Query(ge=0, le=100)] = 45,
) -> Response:
    """Show three slices, counted from 1."""
    scan = find_scan(context, scan_id)
    run = shown_run(context, scan)
    record_view(context, request, "view-images", user=session.user, scan_id=scan_id)
    try:
        if run is None:
            raise NoImages("this scan has no finished analysis yet")
        folder = context.files.run_folder(run.id)
        planes = context.slices.planes(folder).planes
    except NoImages as error:
        raise Problem(404, "no-images", f"{error}.".capitalize()) from error
    reference = str((scan.results or {}).get("reference_role", ""))
    roles = [role.value for role in shown_series(folder, reference)]
    asked = {Plane.AXIAL: axial, Plane.CORONAL: coronal, Plane.SAGITTAL: sagittal}
    return render(
        request,
        context,
        "scan_images.html",
        session,
        here="scans",
        scan=scan,
        planes=planes,
        places={one.plane: min((asked[one.plane] or one.start + 1) - 1, one.count - 1) for one in planes},
        series=roles,
        shown=series.value if series and series.value in roles else reference,
        opacity=opacity,
    )
