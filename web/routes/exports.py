"""/api/scans/{id}/exports/{format}: a scan's result for other programs, as one file or a zip of several."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from web.dependencies import Clinical, Context
from web.exporting import NothingToExport
from web.problems import Problem, documented
from web.routes.scans import ScanId
from web.scan_requests import find_scan
from web.trail import record

router = APIRouter(prefix="/api/scans", tags=["exports"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/{scan_id}/exports/{kind}", response_class=FileResponse, responses=_FILE | documented(401, 403, 404, 422))
def export_scan(
    scan_id: ScanId,
    kind: Annotated[str, Path(alias="kind", max_length=20, pattern=r"^[a-z0-9-]+$", examples=["csv"])],
    request: Request,
    context: Context,
    session: Clinical,
) -> FileResponse:
    """Return the present result as json, csv, parquet, nifti, stl, obj, glb, fhir, hl7 or research.

    Several files come as a zip. All but research hold what identifies the patient.
    """
    find_scan(context, scan_id)
    exporter = context.exporter
    kinds = {} if exporter is None else exporter.kinds
    if exporter is None or kind not in kinds:
        raise Problem(404, "no-format", f"Formats are: {', '.join(kinds)}.")
    folder = tempfile.TemporaryDirectory(prefix="btn-export-")
    try:
        paths = exporter.write(scan_id, kind, FilePath(folder.name))
        if not paths:
            raise NothingToExport("the result has nothing of this kind: its report says what was skipped")
    except BaseException as error:
        folder.cleanup()
        record(context, request, "export", user=session.user, scan_id=scan_id, outcome="failure", format=kind)
        if isinstance(error, NothingToExport):
            raise Problem(404, "nothing-to-export", f"{error}.".capitalize()) from error
        raise
    record(context, request, "export", user=session.user, scan_id=scan_id, format=kind)
    path, media_type = _one(paths, kinds[kind].media_type)
    # Its files are named after the scan or a pseudonym, never after the patient.
    return FileResponse(path, media_type=media_type, filename=path.name, background=BackgroundTask(folder.cleanup))


def _one(paths: Sequence[FilePath], media_type: str) -> tuple[FilePath, str]:
    if len(paths) == 1:
        return paths[0], media_type
    bundle = paths[0].parent / "export.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.name)
    return bundle, "application/zip"
