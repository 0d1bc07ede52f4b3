"""/api/scans: the list, one scan, correcting and deleting it, and what may be asked of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from storage.errors import InvalidQuery
from storage.lifecycle import ScanState
from storage.scan_pages import MAX_LIMIT, Order, ScanFilter
from storage.vocabulary import Role, Source
from web import scan_changes, scan_requests
from web.context import WebContext
from web.dependencies import Clinical, Context, SignedIn
from web.problems import Problem, documented
from web.scan_view import LINE_NAMES, detail, lines, page_json
from web.schemas import RequestAccepted, RoleChoice, ScanChange, ScanDetail, ScanPage
from web.trail import record, record_view

router = APIRouter(prefix="/api/scans", tags=["scans"])

ScanId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9-]+$")]


def page_of_scans(
    context: WebContext, *, cursor: str | None, limit: int, filters: ScanFilter, order: Order = "newest"
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of the list, each line by the names of `ScanSummary`, and the cursor of the next.

    Raises:
        Problem: 422 for a filter or cursor that cannot be used.
    """
    try:
        page = context.scans.list_lines(cursor or None, limit, filters, order=order)
    except InvalidQuery as error:
        raise _unusable(error) from error
    return lines(context, page), page.next_cursor


def scan_filter(**wanted: Any) -> ScanFilter:
    """Return a filter.

    Raises:
        Problem: 422 for one that cannot be used.
    """
    try:
        return ScanFilter(**wanted)
    except InvalidQuery as error:
        raise _unusable(error) from error


def _unusable(error: InvalidQuery) -> Problem:
    return Problem(422, "invalid-query", f"{error}.")


@router.get("", response_model=ScanPage, responses=documented(401, 403, 422))
def list_scans(
    request: Request,
    context: Context,
    session: SignedIn,
    cursor: Annotated[str | None, Query(max_length=400, description="nextCursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
    status: Annotated[list[ScanState] | None, Query(max_length=len(ScanState))] = None,
    patient_id: Annotated[str, Query(alias="patientId", max_length=200, description="Exactly this patient ID.")] = "",
    q: Annotated[str, Query(max_length=200, description="Part of a name, ID, study or accession number.")] = "",
    source: Annotated[Source | None, Query(description="How it came in.")] = None,
    user_id: Annotated[int | None, Query(alias="userId", ge=0, le=2**31 - 1, description="Who uploaded it.")] = None,
    created_from: Annotated[datetime | None, Query(alias="createdFrom", description="With a time zone.")] = None,
    created_to: Annotated[datetime | None, Query(alias="createdTo", description="Not included.")] = None,
    sort: Annotated[Literal["-createdAt", "createdAt"], Query(description="'-': the newest first.")] = "-createdAt",
    deleted: Annotated[bool, Query(description="Those that were deleted, for doctors and administrators.")] = False,
) -> Response:
    """List scans, newest first. New scans neither shift nor repeat those of later pages."""
    if deleted and session.user.role is Role.TECHNICIAN:
        raise Problem(403, "role", "Deleted scans are shown to doctors and administrators.")
    filters = scan_filter(
        statuses=tuple(status or ()),
        patient_id=patient_id,
        text=q,
        source=source,
        user_id=user_id,
        created_from=created_from,
        created_to=created_to,
        deleted=deleted,
    )
    shown, next_cursor = page_of_scans(
        context, cursor=cursor, limit=limit, filters=filters, order="newest" if sort == "-createdAt" else "oldest"
    )
    record_view(context, request, "list-scans", user=session.user)
    items = [dict(zip(LINE_NAMES, line.values(), strict=True)) for line in shown]
    return Response(page_json(items, next_cursor), media_type="application/json")


@router.get("/{scan_id}", responses=documented(401, 404, 422))
def get_scan(scan_id: ScanId, request: Request, context: Context, session: SignedIn) -> ScanDetail:
    """Return one scan: state, findings, series and their roles, what it waits for, deliveries, events."""
    scan = scan_requests.find_scan(context, scan_id)
    record(context, request, "view-scan", user=session.user, scan_id=scan_id)
    return detail(context, scan)


@router.put("/{scan_id}", responses=documented(401, 403, 404, 409, 413, 422))
def correct_scan(
    scan_id: ScanId, change: ScanChange, request: Request, context: Context, session: SignedIn
) -> ScanDetail:
    """Correct what was typed at an upload: patientName, patientId, scanDate. A DICOM study is corrected at its PACS."""
    return detail(context, scan_changes.correct(context, request, session.user, scan_id, change))


@router.delete("/{scan_id}", status_code=204, responses=documented(401, 403, 404, 409, 422))
def delete_scan(
    scan_id: ScanId,
    request: Request,
    context: Context,
    session: Clinical,
    erase: Annotated[bool, Query(description="Remove its files and rows for good (administrators).")] = False,
) -> None:
    """Put a scan that has ended out of sight, or erase it. A new image of its study brings a scan out of sight back."""
    scan_changes.delete(context, request, session.user, scan_id, erase=erase)


@router.post("/{scan_id}/restore", responses=documented(401, 403, 404, 409, 422))
def restore_scan(scan_id: ScanId, request: Request, context: Context, session: Clinical) -> ScanDetail:
    """Bring back a scan that was put out of sight."""
    return detail(context, scan_changes.restore(context, request, session.user, scan_id))


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
