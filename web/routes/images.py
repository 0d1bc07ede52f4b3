"""Slices as PNG, what there is to show, and downloads."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from pipeline.overlay import Plane
from pipeline.volume import SeriesRole
from storage.runs import RunRow
from web import scan_requests
from web.attention_view import AttentionStage, attention_file
from web.context import WebContext
from web.dependencies import Context, Session, SignedIn
from web.files import DOWNLOADS, download_path
from web.images import REFERENCE_FILE, NoImages, NoSuchSlice, ViewVolume, shown_series, volume_file
from web.problems import Problem, documented
from web.routes.scans import ScanId
from web.schemas import AxisOut, ImagesOut
from web.shown_runs import shown_run
from web.trail import record, record_view

router = APIRouter(prefix="/api/scans", tags=["images"])

SliceIndex = Annotated[int, Path(ge=0, le=10_000, description="From 0.")]
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": dict.fromkeys(sorted({file.media_type for file in DOWNLOADS.values()}), _BYTES)}
}
_VOLUME: dict[int | str, dict[str, Any]] = {200: {"content": {"application/gzip": _BYTES}}}


ShownSeries = Annotated[SeriesRole | None, Query(description="Which series to show; the reference without it.")]


def _run(context: WebContext, scan_id: str) -> RunRow:
    run = shown_run(context, scan_requests.find_scan(context, scan_id))
    if run is None:
        raise Problem(404, "no-result", "This scan has no finished analysis yet.")
    return run


@router.get("/{scan_id}/images", responses=documented(401, 404, 422))
def images(scan_id: ScanId, context: Context, _session: SignedIn) -> ImagesOut:
    """Tell how many slices each plane has, which to show first, what lies at the picture's edges, and which series."""
    run = _run(context, scan_id)
    folder, reference = context.files.run_folder(run.id), _reference(context, scan_id)
    try:
        planes = context.slices.planes(folder)
    except NoImages as error:
        raise Problem(404, "no-images", f"{error}.".capitalize()) from error
    return ImagesOut(
        axes=[AxisOut(axis=p.plane.value, count=p.count, start=p.start, sides=dict(p.sides)) for p in planes.planes],
        has_segmentation=planes.has_labels,
        series=[role.value for role in shown_series(folder, reference)],
        has_brain=volume_file(folder, ViewVolume.BRAIN, reference) is not None,
        reference_series=reference,
    )


def _reference(context: WebContext, scan_id: str) -> str:
    """The role of the reference series, by the results that the scan has."""
    return str((scan_requests.find_scan(context, scan_id).results or {}).get("reference_role", ""))


def _png(
    context: WebContext,
    request: Request,
    session: Session,
    scan_id: str,
    axis: Plane,
    index: int,
    opacity: float,
    series: SeriesRole | None,
) -> Response:
    run = _run(context, scan_id)
    record_view(context, request, "view-images", user=session.user, scan_id=scan_id)
    file = _volume(context, scan_id, run, ViewVolume(series.value)).name if series else REFERENCE_FILE
    try:
        png = context.slices.png(context.files.run_folder(run.id), axis, index, opacity, file)
    except NoImages as error:
        raise Problem(404, "no-images", f"{error}.".capitalize()) from error
    except NoSuchSlice as error:
        raise Problem(404, "no-slice", f"This axis has slices 0 to {error.count - 1}.") from error
    return Response(png, media_type="image/png")


@router.get("/{scan_id}/slice/{index}", response_class=Response, responses=_PNG | documented(401, 404, 422))
def slice_png(
    scan_id: ScanId,
    index: SliceIndex,
    request: Request,
    context: Context,
    session: SignedIn,
    axis: Plane = Plane.AXIAL,
    series: ShownSeries = None,
    opacity: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False, description="Has no effect here.")] = 0.0,
) -> Response:
    """Return one slice of the reference series, or of another laid on it, as PNG."""
    return _png(context, request, session, scan_id, axis, index, 0.0, series)


@router.get("/{scan_id}/segmentation/{index}", response_class=Response, responses=_PNG | documented(401, 404, 422))
def segmentation_png(
    scan_id: ScanId,
    index: SliceIndex,
    request: Request,
    context: Context,
    session: SignedIn,
    axis: Plane = Plane.AXIAL,
    series: ShownSeries = None,
    opacity: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.45,
) -> Response:
    """Return one slice with the segmentation laid over it as PNG."""
    return _png(context, request, session, scan_id, axis, index, opacity, series)


def _volume(context: WebContext, scan_id: str, run: RunRow, name: ViewVolume) -> FilePath:
    path = volume_file(context.files.run_folder(run.id), name, _reference(context, scan_id))
    if path is None:
        raise Problem(404, "no-series", "There is no such volume; all but the reference come some time after results.")
    return path


@router.get("/{scan_id}/volume/{name}", response_class=FileResponse, responses=_VOLUME | documented(401, 404, 422))
def volume(scan_id: ScanId, name: ViewVolume, request: Request, context: Context, session: SignedIn) -> FileResponse:
    """Return a volume for a viewer as .nii.gz on the reference's grid: a series in 256 greys, the brain, the labels."""
    run = _run(context, scan_id)
    record_view(context, request, "view-images", user=session.user, scan_id=scan_id)
    return FileResponse(_volume(context, scan_id, run, name), media_type="application/gzip")


@router.get("/{scan_id}/attention/{stage}", response_class=Response, responses=_PNG | documented(401, 404, 422))
def attention_png(
    scan_id: ScanId, stage: AttentionStage, request: Request, context: Context, session: SignedIn
) -> Response:
    """Return the picture of what spoke for the answer of a classifier: its slice, and the slice under its heat."""
    run = _run(context, scan_id)
    record_view(context, request, "view-images", user=session.user, scan_id=scan_id)
    path = attention_file(context.files.run_folder(run.id), stage)
    if path is None:
        raise Problem(404, "no-picture", "There is no such picture; they are made some time after the results.")
    return Response(path.read_bytes(), media_type="image/png")


@router.get("/{scan_id}/download/{key}", response_class=FileResponse, responses=_FILE | documented(401, 404, 422))
def download(
    scan_id: ScanId,
    key: Annotated[str, Path(max_length=64, examples=["segmentation.nii.gz"])],
    request: Request,
    context: Context,
    session: SignedIn,
) -> FileResponse:
    """Return one file of the last finished analysis: the report, the labels, or a DICOM object."""
    if key not in DOWNLOADS:
        raise Problem(404, "no-file", f"Files are: {', '.join(DOWNLOADS)}.")
    run = _run(context, scan_id)
    path = download_path(context.files, run.id, key)
    record(
        context,
        request,
        "download",
        user=session.user,
        scan_id=scan_id,
        outcome="success" if path else "failure",
        key=key,
    )
    if path is None:
        raise Problem(404, "no-file", "This analysis made no such file; its report says why.")
    # The name carries the scan's id and never the patient.
    return FileResponse(path, media_type=DOWNLOADS[key].media_type, filename=f"{scan_id}-{key}")
