"""Placing and releasing holds on received images."""

from __future__ import annotations

from fastapi import Request

from storage.errors import NotFound
from storage.users import UserRow
from web.context import WebContext
from web.problems import Problem
from web.retention_schemas import HoldOut
from web.retention_view import hold_out
from web.scan_requests import find_scan
from web.trail import record


def place_hold(
    context: WebContext, request: Request, user: UserRow, scan_id: str, reason: str, *, whole_patient: bool
) -> HoldOut:
    """Keep what was received of a scan, or of its patient, until the hold is released.

    Raises:
        Problem: 404; 422 without a reason, or for a patient without an ID.
    """
    find_scan(context, scan_id)
    if not reason.strip():
        raise Problem(422, "reason-missing", "Say why the images are to be kept.")
    try:
        hold = context.holds.place(scan_id, whole_patient=whole_patient, reason=reason, by=user.username)
    except NotFound as error:
        raise Problem(422, "no-patient-id", "This scan has no patient ID; hold the scan alone.") from error
    record(context, request, "hold", user=user, scan_id=scan_id, hold_id=hold.id, whole_patient=whole_patient)
    return hold_out(hold)


def release_hold(context: WebContext, request: Request, user: UserRow, scan_id: str, hold_id: int) -> None:
    """End a hold.

    Raises:
        Problem: 404 for a hold that does not apply to the scan or was released.
    """
    find_scan(context, scan_id)
    try:
        context.holds.release(scan_id, hold_id, by=user.username)
    except NotFound as error:
        raise Problem(404, "hold-not-found", "This scan has no such hold.") from error
    record(context, request, "hold-released", user=user, scan_id=scan_id, hold_id=hold_id)
