"""Buttons of the pages. Each checks the CSRF value, does what the API does, and goes back to the page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pipeline.volume import SeriesRole
from storage.errors import NotFound
from storage.vocabulary import ReviewVerdict
from web import accounts, reviews, scan_requests
from web.dependencies import Context
from web.pages import AdminVisitor, ClinicalVisitor, SignedForm, Visitor, see_other
from web.problems import Problem
from web.routes.scans import ScanId
from web.routes.users import UserId
from web.scan_page import ReviewForm, scan_page
from web.scan_view import series_of

router = APIRouter(include_in_schema=False)

_LONGEST_COMMENT = 2000


@router.post("/scans/{scan_id}/process-now")
def process_now(scan_id: ScanId, request: Request, context: Context, session: Visitor, _form: SignedForm) -> Response:
    """Analyse what is here without waiting for more series."""
    scan_requests.process_now(context, request, session.user, scan_id)
    return see_other(f"/scans/{scan_id}")


@router.post("/scans/{scan_id}/retry")
def retry(scan_id: ScanId, request: Request, context: Context, session: Visitor, _form: SignedForm) -> Response:
    """Run the scan again."""
    scan_requests.retry(context, request, session.user, scan_id)
    return see_other(f"/scans/{scan_id}")


@router.post("/scans/{scan_id}/roles")
def choose_roles(scan_id: ScanId, request: Request, context: Context, session: Visitor, form: SignedForm) -> Response:
    """Use the roles chosen in the form: one field a role, '' keeps the node's choice."""
    chosen: dict[str, SeriesRole | None] = {}
    fields = {role: str(form.get(role.value) or "") for role in SeriesRole}
    for series in series_of(context, scan_requests.find_scan(context, scan_id)):
        if series.role_override and fields[SeriesRole(series.role_override)] != series.series_instance_uid:
            chosen[series.series_instance_uid] = None
    for role, uid in fields.items():
        if uid and chosen.get(uid) is not None:
            raise Problem(422, "series-twice", "One series was chosen for two roles.")
        if uid:
            chosen[uid] = role
    if chosen:
        scan_requests.override_roles(context, request, session.user, scan_id, chosen)
    return see_other(f"/scans/{scan_id}")


@router.post("/scans/{scan_id}/reviews")
def give_review(
    scan_id: ScanId, request: Request, context: Context, session: ClinicalVisitor, form: SignedForm
) -> Response:
    """Accept, reject or put on hold the results that were looked at; what is refused comes back to be mended."""
    given = ReviewForm(verdict=str(form.get("verdict") or ""), comment=str(form.get("comment") or "").strip())
    try:
        if given.verdict not in list(ReviewVerdict):
            raise Problem(422, "verdict-unknown", "Choose one of the verdicts.")
        if len(given.comment) > _LONGEST_COMMENT:
            raise Problem(422, "comment-too-long", f"A comment has at most {_LONGEST_COMMENT} characters.")
        reviews.review(
            context,
            request,
            session.user,
            scan_id,
            ReviewVerdict(given.verdict),
            comment=given.comment,
            run_id=str(form.get("run_id") or "") or None,
        )
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return scan_page(
            request, context, session, scan_id, code=problem.status, review_error=problem.detail, review_form=given
        )
    return see_other(f"/scans/{scan_id}#review")


@router.post("/users/{user_id}/approve")
def approve(user_id: UserId, request: Request, context: Context, session: AdminVisitor, form: SignedForm) -> Response:
    """Let an account in with the role chosen."""
    role = str(form.get("role") or "technician")
    if role not in ("admin", "doctor", "technician"):
        raise Problem(422, "role-unknown", "Choose one of the roles.")
    try:
        accounts.approve(context, request, session.user, user_id, role)
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error
    return see_other("/users")


@router.post("/users/{user_id}/disable")
def disable(user_id: UserId, request: Request, context: Context, session: AdminVisitor, _form: SignedForm) -> Response:
    """Shut an account out."""
    try:
        accounts.disable(context, request, session.user, user_id)
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error
    return see_other("/users")
