"""What an administrator decides about accounts. The API and the page share these functions."""

from __future__ import annotations

from fastapi import Request

from storage.users import UserRow
from storage.vocabulary import AccountStatus, Role
from web.context import WebContext
from web.problems import Problem
from web.trail import record


def listed(context: WebContext, status: str | None = None) -> list[UserRow]:
    """Return the accounts, pending ones first, then by name."""
    users = context.users.list_users()
    chosen = [user for user in users if status is None or user.status == status]
    return sorted(chosen, key=lambda user: (user.status != AccountStatus.PENDING, user.username.casefold()))


def approve(context: WebContext, request: Request, admin: UserRow, user_id: int, role: str) -> UserRow:
    """Let an account in with a role.

    Raises:
        NotFound: no such account. Problem: 409 for one's own account.
    """
    if user_id == admin.id:
        raise Problem(409, "own-account", "Administrators do not change their own role.")
    context.users.set_role(user_id, Role(role))
    user = context.users.approve(user_id)
    record(context, request, "approve-user", user=admin, account=user.username, role=role)
    return user


def disable(context: WebContext, request: Request, admin: UserRow, user_id: int) -> UserRow:
    """Shut an account out and end its tokens.

    Raises:
        NotFound: no such account. Problem: 409 for one's own account, so that one administrator always remains.
    """
    if user_id == admin.id:
        raise Problem(409, "own-account", "Administrators do not disable their own account.")
    user = context.users.set_status(user_id, AccountStatus.DISABLED)
    record(context, request, "disable-user", user=admin, account=user.username)
    return user
