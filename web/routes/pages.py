"""Pages: the list of scans, one scan, upload, system, accounts."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from storage.lifecycle import END_STATES, ScanState
from web import scan_requests
from web.delivery_view import reached
from web.dependencies import Context
from web.pages import Visitor, check_csrf, refuse_cross_site, render
from web.problems import Problem
from web.routes.scans import ScanId, page_of_scans, scan_filter
from web.scan_page import scan_page
from web.scan_view import detail
from web.schemas import ScanPage, ScanSummary
from web.trail import record, record_view
from web.uploads import MAX_FIELDS, MAX_FILES, read_upload, take_upload

router = APIRouter(include_in_schema=False)

_ROWS_A_PAGE = 25
#: In work or waiting for it, as the health report counts them, and how many of them are named.
_QUEUED = (ScanState.READY, ScanState.ANALYSING, ScanState.REPORTING)
_LISTED = 50

Text = Annotated[str, Query(max_length=200)]
Cursor = Annotated[str, Query(max_length=400)]


def _list(
    template: str,
    request: Request,
    context: Context,
    session: Visitor,
    q: str,
    patient_id: str,
    status: str,
    cursor: str,
) -> Response:
    states = tuple(state for state in ScanState if state.value == status)
    chosen = scan_filter(statuses=states, patient_id=patient_id.strip(), text=q.strip())
    shown, next_cursor = page_of_scans(context, cursor=cursor or None, limit=_ROWS_A_PAGE, filters=chosen)
    record_view(context, request, "list-scans", user=session.user)
    filters = {name: text for name, text in (("q", q), ("patientId", patient_id), ("status", status)) if text}

    def address(path: str, **more: str) -> str:
        query = urlencode({**filters, **more})
        return f"{path}?{query}" if query else path

    return render(
        request,
        context,
        template,
        session,
        here="scans",
        page=ScanPage(items=[ScanSummary(**line) for line in shown], next_cursor=next_cursor),
        q=q,
        patient_id=patient_id,
        status=status,
        states=[state.value for state in ScanState],
        filtered=bool(filters),
        rows_url=address("/scans/rows", **({"cursor": cursor} if cursor else {})),
        first_url=address("/") if cursor else None,
        next_url=address("/", cursor=next_cursor) if next_cursor else None,
    )


@router.get("/")
def scans(
    request: Request,
    context: Context,
    session: Visitor,
    q: Text = "",
    patient_id: Annotated[str, Query(alias="patientId", max_length=200)] = "",
    status: Text = "",
    cursor: Cursor = "",
) -> Response:
    """Show the list of scans."""
    return _list("scans.html", request, context, session, q, patient_id, status, cursor)


@router.get("/scans/rows")
def scan_rows(
    request: Request,
    context: Context,
    session: Visitor,
    q: Text = "",
    patient_id: Annotated[str, Query(alias="patientId", max_length=200)] = "",
    status: Text = "",
    cursor: Cursor = "",
) -> Response:
    """Return the list's rows alone, for the refresh."""
    return _list("scan_rows.html", request, context, session, q, patient_id, status, cursor)


@router.get("/scans/{scan_id}")
def scan(scan_id: ScanId, request: Request, context: Context, session: Visitor) -> Response:
    """Show one scan."""
    record(context, request, "view-scan", user=session.user, scan_id=scan_requests.find_scan(context, scan_id).id)
    return scan_page(request, context, session, scan_id)


@router.get("/scans/{scan_id}/state")
def scan_state(
    scan_id: ScanId,
    request: Request,
    context: Context,
    session: Visitor,
    seen: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Return the scan's state alone, for the refresh; a new state reloads the page, whose parts all follow from it."""
    row = scan_requests.find_scan(context, scan_id)
    if row.status.value != seen:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    shown = detail(context, row)
    return render(
        request,
        context,
        "scan_state.html",
        session,
        scan=shown,
        reached=reached(shown.deliveries),
        ended=row.status in END_STATES,
    )


def _upload_page(request: Request, context: Context, session: Visitor, *, code: int = 200, error: str = "") -> Response:
    max_mib = context.settings.max_upload_bytes // 1024**2
    return render(request, context, "upload.html", session, here="upload", code=code, error=error, max_mib=max_mib)


@router.get("/upload")
def upload_page(request: Request, context: Context, session: Visitor) -> Response:
    """Show the upload form."""
    return _upload_page(request, context, session)


@router.post("/upload")
async def upload(request: Request, context: Context, session: Visitor) -> Response:
    """Take an upload, then show what became of it."""
    refuse_cross_site(request)
    try:
        async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=16 * 1024) as form:
            check_csrf(context, session, form)
            answer = await run_in_threadpool(lambda: take_upload(context, request, session.user, read_upload(form)))
    except Problem as problem:
        if problem.slug == "csrf":
            raise
        return _upload_page(request, context, session, code=problem.status, error=problem.detail)
    return render(request, context, "uploaded.html", session, here="upload", answer=answer)


@router.get("/system")
def system(request: Request, context: Context, session: Visitor) -> Response:
    """Show the node's condition."""
    return render(
        request,
        context,
        "system.html",
        session,
        here="system",
        health=context.health(),
        refusals=context.refusals.newest(),
        queue=context.scans.in_states(*_QUEUED, limit=_LISTED),
        failed=context.scans.in_states(ScanState.FAILED, limit=_LISTED),
    )
