"""POST /api/process-mri: NIfTI files of one scan, or zips of DICOM files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from web.context import WebContext
from web.dependencies import Context, Session, SignedIn
from web.problems import Problem, documented
from web.schemas import UploadAnswer
from web.uploads import MAX_FIELDS, MAX_FILES, Upload, fingerprint, read_upload, take_upload

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
    responses=documented(400, 401, 403, 408, 409, 413, 415, 422),
    openapi_extra=_BODY,
)
async def process_mri(
    request: Request,
    response: Response,
    context: Context,
    session: SignedIn,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=100,
            pattern=r"^[\x21-\x7e]*$",
            description="Any text of your own: the same upload sent again under it within a day is taken once.",
        ),
    ] = "",
) -> UploadAnswer:
    """Upload a scan for the same analysis as studies that come by C-STORE. Who is nobody is refused before the body."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "unsupported-media-type", "Send multipart/form-data.")
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=16 * 1024) as form:
        return await run_in_threadpool(lambda: once(context, request, response, session, key, read_upload(form)))


def once(
    context: WebContext, request: Request, response: Response, session: Session, key: str, upload: Upload
) -> UploadAnswer:
    """Take an upload; under a key that was seen, give the first answer again.

    Raises:
        Problem: as `take_upload`; 409 while the first one is under way, 422 for another upload under the same key.
    """
    user = session.user
    if not key:
        return take_upload(context, request, user, upload)
    claim = context.known_uploads.claim(user.id, key, fingerprint(upload))
    if not claim.same:
        raise Problem(422, "key-used", "Another upload was sent under this Idempotency-Key; give this one its own.")
    if not claim.mine:
        if claim.answer is None:
            raise Problem(409, "under-way", "This upload is being taken; ask again in a moment.")
        response.headers["Idempotent-Replayed"] = "true"
        return UploadAnswer.model_validate(claim.answer)
    answer = None
    try:
        taken = take_upload(context, request, user, upload)
        answer = taken.model_dump(mode="json", by_alias=True)
        return taken
    finally:
        context.known_uploads.settle(user.id, key, answer)
