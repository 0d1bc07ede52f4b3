"""The audit trail of the web application: who did what to which scan, from where, and whether it worked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from fastapi import Request

from storage.audit_chain import AUDIT_PREFIX as PREFIX
from storage.users import UserRow
from web.context import WebContext
from web.dependencies import client_address

Action = Literal[
    "sign-in", "sign-out", "refresh", "register", "change-password", "change-profile", "approve-user", "disable-user",
    "list-scans", "view-scan", "view-images", "compare", "watch", "download", "upload", "store", "resend", "fetch",
    "process-now", "retry", "role-override", "correct", "delete-scan", "restore-scan", "erase-scan", "read-audit",
    "hold", "hold-released", "create-user", "change-role", "end-sign-ins", "test-destination", "review", "export",
]  # fmt: skip


def record(
    context: WebContext,
    request: Request,
    action: Action,
    *,
    user: UserRow | None = None,
    scan_id: str | None = None,
    outcome: Literal["success", "failure"] = "success",
    **data: object,
) -> None:
    """Write one audit event. The text names the account and the action and no patient."""
    who = user.username if user is not None else "nobody"
    context.audit.append(
        PREFIX + action,
        f"{action} by {who}: {outcome}",
        scan_id=scan_id,
        data={
            "outcome": outcome,
            "user_id": user.id if user is not None else None,
            "username": who,
            "address": client_address(request),
            **data,
        },
    )


def view_key(action: Action, user: UserRow, address: str, scan_id: str | None = None, what: str = "") -> Hashable:
    """What makes two views the same one."""
    return action, user.id, address, scan_id, what


def record_view(
    context: WebContext, request: Request, action: Action, *, user: UserRow, scan_id: str | None = None, what: str = ""
) -> None:
    """Write that somebody looks at something, once in five minutes for one person, address and thing.

    what: tells things apart that one action covers; it names no patient.
    """
    view = view_key(action, user, client_address(request), scan_id, what)
    if not context.views.is_written(view):
        record(context, request, action, user=user, scan_id=scan_id, what=what)
        context.views.written(view)
