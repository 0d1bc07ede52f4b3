"""/api/scans/{id}/reviews: what radiologists said of a scan's results, and saying it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from web import reviews
from web.dependencies import Clinical, Context, SignedIn
from web.problems import documented
from web.review_schemas import ReviewChoice, ReviewOut, ReviewsOut
from web.routes.scans import ScanId
from web.scan_requests import find_scan
from web.trail import record_view

router = APIRouter(prefix="/api/scans", tags=["reviews"])


@router.get("/{scan_id}/reviews", responses=documented(401, 404, 422))
def list_reviews(scan_id: ScanId, request: Request, context: Context, session: SignedIn) -> ReviewsOut:
    """List the reviews of a scan's runs, and the one that holds for the results it shows."""
    scan = find_scan(context, scan_id)
    record_view(context, request, "view-scan", user=session.user, scan_id=scan_id, what="reviews")
    return reviews.reviews_of(context, scan)


@router.post("/{scan_id}/reviews", status_code=201, responses=documented(401, 403, 404, 409, 413, 422))
def add_review(
    scan_id: ScanId, choice: ReviewChoice, request: Request, context: Context, session: Clinical
) -> ReviewOut:
    """Accept, reject or put on hold the results a scan shows, in place of an earlier review of them."""
    return reviews.review(
        context, request, session.user, scan_id, choice.verdict, comment=choice.comment, run_id=choice.run_id
    )
