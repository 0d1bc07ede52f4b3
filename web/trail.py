"""The audit trail of the web application: who did what to which scan, from where, and whether it worked."""

from __future__ import annotations

from typing import Literal

from fastapi import Request

from storage.users import UserRow
from web.context import WebContext
from web.dependencies import client_address

#: Kinds of audit events begin with this; the scan's own history does not.
PREFIX = "audit."

Action = Literal[
    "sign-in", "sign-out", "register", "change-password", "change-profile", "approve-user", "disable-user",
    "view-scan", "download", "upload", "store", "resend", "fetch", "process-now", "retry", "role-override",
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
