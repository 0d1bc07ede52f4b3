"""GET /api/scans, GET /api/scans/{id} and what may be asked of a scan."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from storage.errors import InvalidQuery
from storage.lifecycle import ScanState
from storage.scan_pages import MAX_LIMIT, ScanFilter
from web import scan_requests
from web.context import WebContext
from web.dependencies import Context, SignedIn
from web.problems import Problem, documented
from web.scan_view import detail, summary
from web.schemas import RequestAccepted, RoleChoice, ScanDetail, ScanPage
from web.trail import record

router = APIRouter(prefix="/api/scans", tags=["scans"])

ScanId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9-]+$")]


def page_of_scans(
    context: WebContext,
    *,
    cursor: str | None,
    limit: int,
    status: tuple[ScanState, ...] = (),
    patient_id: str = "",
    text: str = "",
) -> ScanPage:
    """Return one page of the list.

    Raises:
        Problem: 422 for a filter or cursor that cannot be used.
    """
    try:
        filters = ScanFilter(statuses=status, patient_id=patient_id, text=text)
        page = context.scans.list_page(cursor or None, limit, filters)
    except InvalidQuery as error:
        raise Problem(422, "invalid-query", f"{error}.") from error
    return ScanPage(items=[summary(row) for row in page.rows], next_cursor=page.next_cursor)


@router.get("", responses=documented(401, 422))
def list_scans(
    context: Context,
    _session: SignedIn,
    cursor: Annotated[str | None, Query(max_length=400, description="nextCursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
    status: Annotated[list[ScanState] | None, Query(max_length=len(ScanState))] = None,
    patient_id: Annotated[str, Query(alias="patientId", max_length=200, description="Exactly this patient ID.")] = "",
    q: Annotated[str, Query(max_length=200, description="Part of a name, ID, study or accession number.")] = "",
) -> ScanPage:
    """List scans, newest first. New scans neither shift nor repeat those of later pages."""
    return page_of_scans(context, cursor=cursor, limit=limit, status=tuple(status or ()), patient_id=patient_id, text=q)


@router.get("/{scan_id}", responses=documented(401, 404, 422))
def get_scan(scan_id: ScanId, request: Request, context: Context, session: SignedIn) -> ScanDetail:
    """Return one scan: state, findings, series and their roles, what it waits for, deliveries, events."""
    scan = scan_requests.find_scan(context, scan_id)
    record(context, request, "view-scan", user=session.user, scan_id=scan_id)
    return detail(context, scan)


@router.post("/{scan_id}/process-now", status_code=202, responses=documented(401, 403, 404, 409, 422))
def process_now(scan_id: ScanId, request: Request, context: Context, session: SignedIn) -> RequestAccepted:
    """Analyse what is here without waiting for more series."""
    scan_requests.process_now(context, request, session.user, scan_id)
    return RequestAccepted(scan_id=scan_id, request="process-now")


@router.post("/{scan_id}/retry", status_code=202, responses=documented(401, 403, 404, 409, 422))
def retry(scan_id: ScanId, request: Request, context: Context, session: SignedIn) -> RequestAccepted:
    """Run a scan again that failed, was ineligible or is delivered."""
    scan_requests.retry(context, request, session.user, scan_id)
    return RequestAccepted(scan_id=scan_id, request="retry")


@router.put("/{scan_id}/roles", status_code=202, responses=documented(401, 403, 404, 409, 413, 422))
def choose_roles(
    scan_id: ScanId, choice: RoleChoice, request: Request, context: Context, session: SignedIn
) -> RequestAccepted:
    """Say which series fill which roles; the scan is then analysed again."""
    scan_requests.override_roles(context, request, session.user, scan_id, choice.roles)
    return RequestAccepted(scan_id=scan_id, request="role-override")
