"""Holds on received images: the API and the buttons. Doctors and administrators place, administrators release."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from web.dependencies import AdminOnly, Clinical, Context
from web.pages import AdminVisitor, ClinicalVisitor, SignedForm, see_other
from web.problems import documented
from web.retention_requests import place_hold, release_hold
from web.retention_schemas import HoldChoice, HoldOut
from web.routes.scans import ScanId

router = APIRouter()

HoldId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post(
    "/api/scans/{scan_id}/holds", status_code=201, tags=["retention"], responses=documented(401, 403, 404, 413, 422)
)
def place(
    scan_id: ScanId, request: Request, context: Context, session: Clinical, choice: HoldChoice | None = None
) -> HoldOut:
    """Keep the received images of this scan, or of its patient, until the hold is released."""
    given = choice or HoldChoice(reason="", whole_patient=False)
    return place_hold(context, request, session.user, scan_id, given.reason, whole_patient=given.whole_patient)


@router.post(
    "/api/scans/{scan_id}/holds/{hold_id}/release",
    status_code=204,
    tags=["retention"],
    responses=documented(401, 403, 404, 422),
)
def release(scan_id: ScanId, hold_id: HoldId, request: Request, context: Context, session: AdminOnly) -> None:
    """End a hold."""
    release_hold(context, request, session.user, scan_id, hold_id)


@router.post("/scans/{scan_id}/holds", include_in_schema=False)
def place_from_page(
    scan_id: ScanId, request: Request, context: Context, session: ClinicalVisitor, form: SignedForm
) -> Response:
    """Place a hold, then go back to the scan."""
    reason = str(form.get("reason") or "")[:300]
    place_hold(context, request, session.user, scan_id, reason, whole_patient=form.get("whole_patient") == "yes")
    return see_other(f"/scans/{scan_id}")


@router.post("/scans/{scan_id}/holds/{hold_id}/release", include_in_schema=False)
def release_from_page(
    scan_id: ScanId, hold_id: HoldId, request: Request, context: Context, session: AdminVisitor, _form: SignedForm
) -> Response:
    """End a hold, then go back to the scan."""
    release_hold(context, request, session.user, scan_id, hold_id)
    return see_other(f"/scans/{scan_id}")
