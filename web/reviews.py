"""Reviews of results: reading them and giving one."""

from __future__ import annotations

from fastapi import Request

from storage.errors import Conflict
from storage.reviews import ReviewRow
from storage.scan_rows import ScanRow
from storage.users import UserRow
from storage.vocabulary import ReviewVerdict
from web.context import WebContext
from web.problems import Problem
from web.review_schemas import ReviewOut, ReviewsOut
from web.scan_requests import find_scan
from web.shown_runs import reviewed_run
from web.trail import record


def review_out(row: ReviewRow) -> ReviewOut:
    """Return one review."""
    return ReviewOut(
        id=row.id,
        run_id=row.run_id,
        verdict=row.verdict,
        comment=row.comment,
        reviewer=row.reviewer,
        reviewer_name=row.reviewer_name,
        at=row.at,
        replaced_at=row.replaced_at,
    )


def reviews_of(context: WebContext, scan: ScanRow) -> ReviewsOut:
    """Return the reviews of a scan's runs, and the one that holds for the results it shows."""
    run_id = reviewed_run(context, scan)
    items = [review_out(row) for row in context.reviews.of_scan(scan.id)]
    current = [one for one in items if one.run_id == run_id and one.replaced_at is None]
    return ReviewsOut(run_id=run_id, current=current[0] if current else None, items=items)


def review(
    context: WebContext,
    request: Request,
    user: UserRow,
    scan_id: str,
    verdict: ReviewVerdict,
    *,
    comment: str = "",
    run_id: str | None = None,
) -> ReviewOut:
    """Give a verdict on the results a scan shows. run_id: the run that was looked at, None for whichever is shown.

    Raises:
        Problem: 404; 409 without results, or where another run's are shown by now; 422 without a needed comment.
    """
    scan = find_scan(context, scan_id)
    if verdict is not ReviewVerdict.ACCEPTED and not comment.strip():
        raise Problem(422, "comment-missing", "Say why in a comment.")
    shown = reviewed_run(context, scan)
    if shown is None:
        raise Problem(409, "no-results", "This scan has no results to review; wait for the analysis to end.")
    if run_id is not None and run_id != shown:
        raise Problem(409, "other-results", "Another run's results are shown by now: look at those first.")
    try:
        given = context.reviews.add(
            shown,
            verdict,
            comment=comment,
            reviewer=user.username,
            reviewer_name=user.full_name,
            user_id=user.id,
        )
    except Conflict as error:
        raise Problem(409, "other-results", f"{error}.".capitalize()) from error
    # The comment stays with the review: it may speak of the patient, the trail never does.
    record(context, request, "review", user=user, scan_id=scan_id, verdict=verdict.value, run_id=shown)
    return review_out(given)
