"""What people ask of the worker: process now, run again, use these roles. Each becomes one row the worker finds."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request

from pipeline.volume import SeriesRole
from storage.errors import NotFound
from storage.lifecycle import OPEN_STATES, TRANSITIONS, ScanEvent
from storage.scan_rows import ScanRow
from storage.users import UserRow
from storage.vocabulary import RequestKind
from web.context import WebContext
from web.problems import Problem
from web.trail import record


def find_scan(context: WebContext, scan_id: str, *, deleted: bool = False) -> ScanRow:
    """Return one scan. deleted: one that was deleted, too.

    Raises:
        Problem: 404 where no scan has this id, or it was deleted.
    """
    try:
        scan = context.scans.get(scan_id)
    except NotFound as error:
        raise Problem(404, "scan-not-found", "No scan has this id.") from error
    if scan.erased_at is not None or (scan.deleted_at is not None and not deleted):
        raise Problem(404, "scan-not-found", "No scan has this id.")
    return scan


def process_now(context: WebContext, request: Request, user: UserRow, scan_id: str) -> None:
    """Ask that a scan which waits for series be analysed with what is here.

    Raises:
        Problem: 404; 409 where the scan does not wait for series.
    """
    scan = find_scan(context, scan_id)
    if scan.status not in OPEN_STATES:
        raise Problem(409, "not-waiting", f"This scan is '{scan.status.value}' and does not wait for series.")
    context.requests.add(scan_id, RequestKind.PROCESS_NOW, user_id=user.id)
    record(context, request, "process-now", user=user, scan_id=scan_id)


def retry(context: WebContext, request: Request, user: UserRow, scan_id: str) -> None:
    """Ask for another run.

    Raises:
        Problem: 404; 409 where the scan is still on its way.
    """
    scan = find_scan(context, scan_id)
    if (scan.status, ScanEvent.RETRY) not in TRANSITIONS:
        raise Problem(409, "still-running", f"This scan is '{scan.status.value}'; it can be run again once that ended.")
    context.requests.add(scan_id, RequestKind.RETRY, user_id=user.id)
    record(context, request, "retry", user=user, scan_id=scan_id)


def override_roles(
    context: WebContext, request: Request, user: UserRow, scan_id: str, roles: Mapping[str, SeriesRole | None]
) -> None:
    """Ask that series be used in the roles a person chose. roles: Series Instance UID to role, None takes it back.

    Raises:
        Problem: 404; 409 for an upload of NIfTI, whose roles were fixed then; 422 for a series that is not of this
            scan or a role given twice.
    """
    scan = find_scan(context, scan_id)
    if scan.study_instance_uid is None:
        raise Problem(409, "roles-fixed", "This scan was uploaded as NIfTI; upload it again with other roles.")
    known = {row.series_instance_uid for row in context.studies.series_of(scan.study_instance_uid)}
    if not set(roles) <= known:
        raise Problem(422, "series-unknown", "A series named here is not one of this scan.")
    chosen = [role for role in roles.values() if role is not None]
    if len(chosen) != len(set(chosen)):
        raise Problem(422, "role-twice", "One role was given to two series.")
    payload = {"roles": {uid: role.value if role else None for uid, role in sorted(roles.items())}, "by": user.username}
    context.requests.add(scan_id, RequestKind.ROLE_OVERRIDE, payload, user_id=user.id)
    record(context, request, "role-override", user=user, scan_id=scan_id, roles=payload["roles"])
