"""POST /dicom-web/studies: the inbox for peers that send by STOW-RS."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security.utils import get_authorization_scheme_param
from starlette.concurrency import run_in_threadpool

from storage.users import UserRow
from web.context import WebContext
from web.dependencies import Context, Session, bearer_scheme, optional_session, signed_in
from web.multipart_related import MultipartRefused, RelatedReader, boundary_of
from web.problems import Problem, documented
from web.stow import MEDIA_TYPE, PART_TYPE, PartTooLarge, StowReception
from web.trail import record

router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])

#: What arrives is gathered to about this before a thread is asked to write it.
_GATHERED_BYTES = 1 << 20

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            f'multipart/related; type="{PART_TYPE}"': {
                "schema": {"type": "string", "contentMediaType": PART_TYPE, "description": "One DICOM file a part."}
            }
        },
    }
}


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends. calling: stands where C-STORE has the calling AE title. user: None for a machine with the token."""

    calling: str
    user: UserRow | None


async def sender(
    request: Request,
    context: Context,
    session: Annotated[Session | None, Depends(optional_session)],
    documented: Annotated[object, Depends(bearer_scheme)],
) -> Sender:
    """Dependency: a machine with the inbox's token, or a person who is signed in.

    Raises:
        Problem: 401, 403 as `signed_in`.
    """
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    known = context.settings.inbox_token
    if known and scheme.lower() == "bearer" and hmac.compare_digest(known.encode(), token.encode()):
        return Sender(calling="STOW", user=None)
    return Sender(calling="WEB", user=(await signed_in(request, context, session, documented)).user)


Sending = Annotated[Sender, Depends(sender)]
StudyUid = Annotated[str, Path(max_length=64, pattern=r"^[0-9.]+$")]


@router.post("/studies", responses=documented(400, 401, 403, 408, 413, 415, 503), openapi_extra=_BODY)
async def store(request: Request, context: Context, who: Sending) -> Response:
    """Store DICOM objects of any study. 200: all are kept, 202: some, 409: none; the answer names each."""
    return await _store(request, context, who, None)


@router.post("/studies/{study_uid}", responses=documented(400, 401, 403, 408, 413, 415, 422, 503), openapi_extra=_BODY)
async def store_in_study(study_uid: StudyUid, request: Request, context: Context, who: Sending) -> Response:
    """Store DICOM objects of one study; one of another is refused."""
    return await _store(request, context, who, study_uid)


async def _store(request: Request, context: WebContext, who: Sender, study_uid: str | None) -> Response:
    try:
        boundary = boundary_of(request.headers.get("content-type", ""), PART_TYPE)
    except MultipartRefused as error:
        raise Problem(415, "unsupported-media-type", f"Not taken: {error}.") from error
    if context.stow is None:
        raise Problem(503, "no-inbox", "This node has no DICOMweb inbox.")
    reception = StowReception(context, calling=who.calling, study_instance_uid=study_uid)
    reader = RelatedReader(boundary, reception, max_parts=context.settings.max_archive_members)
    try:
        gathered = bytearray()
        async for chunk in request.stream():
            gathered += chunk
            if len(gathered) >= _GATHERED_BYTES:
                # Writing, syncing and the rows block: never on the event loop.
                await run_in_threadpool(reader.feed, bytes(gathered))
                gathered.clear()
        await run_in_threadpool(reader.feed, bytes(gathered))
        reader.close()
    except MultipartRefused as error:
        raise Problem(400, "multipart-refused", f"Not understood: {error}.") from error
    except PartTooLarge as error:
        raise Problem(413, "content-too-large", f"Not taken: {error}.") from error
    finally:
        await run_in_threadpool(reception.close)
    await run_in_threadpool(
        lambda: record(context, request, "store", user=who.user, stored=reception.stored, parts=len(reception.parts))
    )
    headers = {"Retry-After": "60"} if reception.status == 503 else {}
    return JSONResponse(reception.answer(), status_code=reception.status, media_type=MEDIA_TYPE, headers=headers)
