"""The page of one scan: what its parts need, gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request, Response

from storage.lifecycle import END_STATES
from storage.vocabulary import Role
from web import reviews
from web.attention_view import attention_views
from web.context import WebContext
from web.delivery_view import reached
from web.dependencies import Session
from web.exporting import ExportKind
from web.files import DOWNLOADS
from web.follow_up_view import follow_up_of
from web.images import REFERENCE_FILE
from web.pages import render
from web.result_view import result_view
from web.scan_requests import find_scan
from web.scan_view import detail
from web.shown_runs import shown_run


@dataclass(frozen=True, kw_only=True)
class ReviewForm:
    """What somebody filled in."""

    verdict: str = ""
    comment: str = ""


def scan_page(
    request: Request,
    context: WebContext,
    session: Session,
    scan_id: str,
    *,
    code: int = 200,
    review_error: str = "",
    review_form: ReviewForm | None = None,
) -> Response:
    """Return the page. code: its HTTP status. review_error, review_form: why a review was refused, and what it was.

    Raises:
        Problem: 404.
    """
    row = find_scan(context, scan_id)
    shown = detail(context, row)
    run = shown_run(context, row)
    return render(
        request,
        context,
        "scan.html",
        session,
        code=code,
        here="scans",
        scan=shown,
        reached=reached(shown.deliveries),
        error="",
        ended=row.status in END_STATES,
        result=result_view(row.results) if row.results else None,
        follow_up=follow_up_of(row.results),
        reviews=reviews.reviews_of(context, row),
        review_error=review_error,
        review_form=review_form or ReviewForm(),
        has_images=REFERENCE_FILE in shown.downloads,
        attention=attention_views(context.files.run_folder(run.id)) if run else (),
        exports=_exports(context, session) if run else {},
        download_labels={key: file.label for key, file in DOWNLOADS.items()},
        used_series=[one for one in shown.series if one.role is not None],
        excluded_series=[one for one in shown.series if one.role is None],
    )


def _exports(context: WebContext, session: Session) -> Mapping[str, ExportKind]:
    """The formats that this visitor may have."""
    if context.exporter is None or session.user.role not in (Role.ADMIN, Role.DOCTOR):
        return {}
    return context.exporter.kinds
