"""The page of what destinations refused, and the buttons that send once more or fetch from a PACS."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from web import delivery_requests
from web.delivery_view import outbox
from web.dependencies import Context
from web.pages import SignedForm, Visitor, render, see_other
from web.routes.deliveries import DeliveryId
from web.routes.scans import ScanId

router = APIRouter(include_in_schema=False)


@router.get("/deliveries")
def deliveries(request: Request, context: Context, session: Visitor) -> Response:
    """Show what was refused for good, and each destination that refuses."""
    return render(request, context, "deliveries.html", session, here="deliveries", outbox=outbox(context))


@router.post("/scans/{scan_id}/deliveries/{delivery_id}/retry")
def resend(
    scan_id: ScanId, delivery_id: DeliveryId, request: Request, context: Context, session: Visitor, form: SignedForm
) -> Response:
    """Send one object once more, then go back to where the button was."""
    delivery_requests.resend(context, request, session.user, scan_id, delivery_id)
    return see_other("/deliveries" if form.get("from") == "deliveries" else f"/scans/{scan_id}")


@router.post("/scans/{scan_id}/fetch")
def fetch(scan_id: ScanId, request: Request, context: Context, session: Visitor, form: SignedForm) -> Response:
    """Fetch from the PACS what is missing of this study, or one of the patient's others."""
    study_uid = str(form.get("study") or "")[:64] or None
    delivery_requests.fetch(context, request, session.user, scan_id, study_uid)
    return see_other(f"/scans/{scan_id}")
