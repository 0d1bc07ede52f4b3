"""What destinations refused, sending it once more, and fetching from a PACS."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from web import delivery_requests
from web.delivery_view import outbox
from web.dependencies import Context, SignedIn
from web.outward_schemas import FetchChoice, OutboxOut
from web.problems import documented
from web.routes.scans import ScanId
from web.schemas import RequestAccepted

router = APIRouter(prefix="/api", tags=["deliveries"])

DeliveryId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/deliveries", responses=documented(401))
def dead_letters(context: Context, _session: SignedIn) -> OutboxOut:
    """List what destinations refused for good, and how each destination takes what it is sent."""
    return outbox(context)


@router.post(
    "/scans/{scan_id}/deliveries/{delivery_id}/retry", status_code=202, responses=documented(401, 403, 404, 409, 422)
)
def resend(
    scan_id: ScanId, delivery_id: DeliveryId, request: Request, context: Context, session: SignedIn
) -> RequestAccepted:
    """Send one refused object once more, as it is: nothing is analysed again."""
    delivery_requests.resend(context, request, session.user, scan_id, delivery_id)
    return RequestAccepted(scan_id=scan_id, request="resend")


@router.post("/scans/{scan_id}/fetch", status_code=202, responses=documented(401, 403, 404, 409, 413, 422))
def fetch(
    scan_id: ScanId, request: Request, context: Context, session: SignedIn, choice: FetchChoice | None = None
) -> RequestAccepted:
    """Fetch from the PACS what is missing of this study, or an earlier study of the patient."""
    wanted = None if choice is None else choice.study_instance_uid
    delivery_requests.fetch(context, request, session.user, scan_id, wanted)
    return RequestAccepted(scan_id=scan_id, request="fetch")
