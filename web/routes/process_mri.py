"""POST /api/process-mri: NIfTI files of one scan, or zips of DICOM files."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from web.dependencies import Context, SignedIn
from web.problems import Problem, documented
from web.schemas import UploadAnswer
from web.uploads import MAX_FIELDS, MAX_FILES, read_upload, take_upload

router = APIRouter(prefix="/api", tags=["scans"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                            "description": "One .nii or .nii.gz for each series of one scan, or zips of DICOM files.",
                        },
                        "roles": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["", "T1", "T1CE", "T2", "FLAIR"]},
                            "description": "The files' roles in their order; left out or '', the file's name tells it.",
                        },
                        "patientName": {"type": "string", "maxLength": 194},
                        "patientId": {"type": "string", "maxLength": 64, "description": "Left out, one is given."},
                    },
                }
            }
        },
    }
}


@router.post(
    "/process-mri",
    status_code=202,
    responses=documented(400, 401, 403, 408, 413, 415, 422),
    openapi_extra=_BODY,
)
async def process_mri(request: Request, context: Context, session: SignedIn) -> UploadAnswer:
    """Upload a scan for the same analysis as studies that come by C-STORE. Who is nobody is refused before the body."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "unsupported-media-type", "Send multipart/form-data.")
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=16 * 1024) as form:
        return await run_in_threadpool(lambda: take_upload(context, request, session.user, read_upload(form)))
