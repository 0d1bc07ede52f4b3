"""What an administrator decides about accounts. The API and the page share these functions."""

from __future__ import annotations

from fastapi import Request

from storage.errors import Conflict
from storage.users import UserRow
from storage.vocabulary import AccountStatus, Role
from web.account_schemas import Registration
from web.context import WebContext
from web.passwords import PasswordRefused
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


def create(context: WebContext, request: Request, admin: UserRow, form: Registration, role: str) -> UserRow:
    """Make an account that may sign in at once.

    Raises:
        Problem: 409 for a taken name or address, 422 for a password.
    """
    try:
        user = context.users.create(
            username=form.username,
            email=form.email,
            hashed_password=context.hasher.hash(form.password),
            full_name=form.full_name,
            role=Role(role),
            status=AccountStatus.ACTIVE,
        )
    except PasswordRefused as error:
        raise Problem(422, "password-refused", f"This password was not accepted: {error}.") from error
    except Conflict as error:
        raise Problem(409, "account-exists", f"This {error.field} is already in use.") from error
    record(context, request, "create-user", user=admin, account=user.username, role=role)
    return user


def change_role(context: WebContext, request: Request, admin: UserRow, user_id: int, role: str) -> UserRow:
    """Give an account another role; it has to sign in again.

    Raises:
        NotFound: no such account. Problem: 409 for one's own account.
    """
    if user_id == admin.id:
        raise Problem(409, "own-account", "Administrators do not change their own role.")
    user = context.users.set_role(user_id, Role(role))
    record(context, request, "change-role", user=admin, account=user.username, role=role)
    return user


def end_sign_ins(context: WebContext, request: Request, admin: UserRow, user_id: int) -> UserRow:
    """Sign an account out everywhere. Raises NotFound."""
    user = context.users.revoke_tokens(user_id)
    record(context, request, "end-sign-ins", user=admin, account=user.username)
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
