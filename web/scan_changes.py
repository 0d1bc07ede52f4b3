"""Correcting, deleting, restoring and erasing scans: who may, what it leaves behind. Routes and pages share these."""

from __future__ import annotations

from fastapi import Request

from storage.errors import Conflict
from storage.scan_rows import ScanRow
from storage.users import UserRow
from storage.vocabulary import Role
from web.context import WebContext
from web.problems import Problem
from web.scan_requests import find_scan
from web.schemas import ScanChange
from web.trail import record


def correct(context: WebContext, request: Request, user: UserRow, scan_id: str, change: ScanChange) -> ScanRow:
    """Correct what was typed at an upload. A technician corrects own uploads, others any.

    Raises:
        Problem: 403, 404; 409 for a DICOM study or a scan that is analysed or sent just now.
    """
    scan = find_scan(context, scan_id)
    if user.role is Role.TECHNICIAN and scan.user_id != user.id:
        raise Problem(403, "role", "Technicians correct their own uploads; ask a doctor or an administrator.")
    fields = change.model_dump(exclude_none=True)
    if not fields:
        return scan
    try:
        changed = context.care.correct(scan_id, **fields)
    except Conflict as error:
        raise Problem(409, f"fixed-{error.field}", f"{error}.".capitalize()) from error
    record(context, request, "correct", user=user, scan_id=scan_id, fields=sorted(fields))
    return changed


def delete(context: WebContext, request: Request, user: UserRow, scan_id: str, *, erase: bool) -> None:
    """Put a scan out of sight; with `erase`, remove its files and rows for good, which administrators may alone.

    Raises:
        Problem: 403, 404; 409 while it is on its way, a result of it is owed to a destination, or, to erase
            it, while it is on hold.
    """
    find_scan(context, scan_id, deleted=erase)
    if erase and user.role is not Role.ADMIN:
        raise Problem(403, "role", "Erasing for good needs the role admin; without `erase` a scan is put out of sight.")
    try:
        if erase and context.holds.of_scan(scan_id):
            raise Conflict("the scan or its patient is on hold: release the hold first", "hold")
        context.care.delete(scan_id, user.username)
        record(context, request, "delete-scan", user=user, scan_id=scan_id)
        if erase:
            context.erase(scan_id, user.username)
            record(context, request, "erase-scan", user=user, scan_id=scan_id)
    except Conflict as error:
        record(context, request, "delete-scan", user=user, scan_id=scan_id, outcome="failure", reason=error.field)
        raise Problem(409, f"busy-{error.field}", f"{error}.".capitalize()) from error


def restore(context: WebContext, request: Request, user: UserRow, scan_id: str) -> ScanRow:
    """Bring a deleted scan back.

    Raises:
        Problem: 404; 409 where its data was erased.
    """
    find_scan(context, scan_id, deleted=True)
    try:
        scan = context.care.restore(scan_id, user.username)
    except Conflict as error:
        raise Problem(409, "erased", f"{error}.".capitalize()) from error
    record(context, request, "restore-scan", user=user, scan_id=scan_id)
    return scan
