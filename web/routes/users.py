"""GET /api/users and what an administrator decides about an account."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request

from storage.errors import NotFound
from web import accounts
from web.account_schemas import Approval, UserList, UserOut
from web.auth import user_out
from web.dependencies import AdminOnly, Context
from web.problems import Problem, documented

router = APIRouter(prefix="/api/users", tags=["administration"])

UserId = Annotated[int, Path(ge=1, le=2**31)]


@router.get("", responses=documented(401, 403, 422))
def list_users(
    context: Context,
    _admin: AdminOnly,
    status: Annotated[Literal["active", "pending", "disabled"] | None, Query()] = None,
) -> UserList:
    """List the accounts, or those of one status."""
    return UserList(items=[user_out(user) for user in accounts.listed(context, status)])


@router.post("/{user_id}/approve", responses=documented(401, 403, 404, 409, 413, 422))
def approve(user_id: UserId, approval: Approval, request: Request, context: Context, admin: AdminOnly) -> UserOut:
    """Let a pending or disabled account in, with the role given here."""
    try:
        return user_out(accounts.approve(context, request, admin.user, user_id, approval.role))
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error


@router.post("/{user_id}/disable", responses=documented(401, 403, 404, 409, 422))
def disable(user_id: UserId, request: Request, context: Context, admin: AdminOnly) -> UserOut:
    """Shut an account out; its tokens end at once."""
    try:
        return user_out(accounts.disable(context, request, admin.user, user_id))
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error
