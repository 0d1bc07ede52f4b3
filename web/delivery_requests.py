"""What people ask about deliveries and PACS: send once more, fetch from there. Each becomes a row the worker finds."""

from __future__ import annotations

from fastapi import Request

from storage.users import UserRow
from storage.vocabulary import RequestKind
from web.context import WebContext
from web.delivery_view import can_resend, is_withheld, withheld_runs_of
from web.problems import Problem
from web.scan_requests import find_scan
from web.trail import record


def resend(context: WebContext, request: Request, user: UserRow, scan_id: str, delivery_id: int) -> None:
    """Ask that one object be sent once more to where it was refused, or not kept.

    Raises:
        Problem: 404 for another scan's delivery; 409 for one that is on its way, was kept, or is withheld by a review.
    """
    find_scan(context, scan_id)
    row = next((row for row in context.deliveries.of_scan(scan_id) if row.id == delivery_id), None)
    if row is None:
        raise Problem(404, "delivery-not-found", "This scan has no such delivery.")
    withheld = withheld_runs_of(context, scan_id)
    if is_withheld(row, withheld):
        raise Problem(409, "withheld", "A review withholds these results: accept them first.")
    if not can_resend(row, context.commitments.of_scan(scan_id).get(delivery_id), withheld):
        raise Problem(409, "not-refused", f"This delivery is '{row.state.value}' and need not be sent again.")
    context.requests.add(scan_id, RequestKind.RESEND, {"delivery_id": delivery_id}, user_id=user.id)
    record(context, request, "resend", user=user, scan_id=scan_id, delivery_id=delivery_id)


def fetch(context: WebContext, request: Request, user: UserRow, scan_id: str, study_uid: str | None) -> None:
    """Ask that what a PACS has be fetched: what is missing of the scan's study (None), or one of its priors.

    Raises:
        Problem: 404; 409 where no PACS said that it has it.
    """
    scan = find_scan(context, scan_id)
    answers = [] if scan.study_instance_uid is None else context.pacs_answers.of_study(scan.study_instance_uid)
    if study_uid is None or study_uid == scan.study_instance_uid:
        offered = any(answer.series for answer in answers)
        payload = {}
    else:
        offered = any(study_uid == prior.study_instance_uid for answer in answers for prior in answer.priors)
        payload = {"study_instance_uid": study_uid}
    if not offered:
        raise Problem(409, "not-at-pacs", "No PACS that was asked says that it has this study of this patient.")
    context.requests.add(scan_id, RequestKind.FETCH, payload, user_id=user.id)
    record(context, request, "fetch", user=user, scan_id=scan_id)
