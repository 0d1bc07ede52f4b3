"""Accounts: registering, signing in, changing one's own account. Routes and pages share these functions."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fastapi import Request

from storage.errors import Conflict
from storage.sign_ins import Rotation
from storage.users import UserRow
from storage.vocabulary import AccountStatus, Role
from web.account_schemas import Credentials, ProfileChange, UserOut
from web.account_schemas import Registration as RegistrationForm
from web.context import WebContext
from web.dependencies import Session, client_address
from web.passwords import PasswordRefused
from web.problems import Problem
from web.settings import Registration
from web.tokens import refresh_sha256
from web.trail import record


def user_out(user: UserRow) -> UserOut:
    """Return what of an account may be shown."""
    return UserOut.model_validate(
        {
            "id": user.id,
            "username": user.username,
            "email": user.email,
            "full_name": user.full_name,
            "title": user.title,
            "department": user.department,
            "institution": user.institution,
            "role": str(user.role),
            "status": str(user.status),
            "created_at": user.created_at,
        }
    )


def _refused(error: PasswordRefused) -> Problem:
    return Problem(422, "password-refused", f"This password was not accepted: {error}.")


def register(context: WebContext, request: Request, form: RegistrationForm) -> UserRow:
    """Create an account as the node's registration policy allows.

    Raises:
        Problem: 403 where registration is closed, 409 for a taken name or address, 422 for a password, 429.
    """
    policy = context.settings.registration
    if policy is Registration.CLOSED:
        raise Problem(403, "registration-closed", "This node takes no registrations; ask its administrator.")
    context.limits.check_registration(client_address(request))
    try:
        hashed = context.hasher.hash(form.password)
        user = context.users.create(
            username=form.username,
            email=form.email,
            hashed_password=hashed,
            full_name=form.full_name,
            title=form.title,
            department=form.department,
            institution=form.institution,
            role=Role.TECHNICIAN,
            status=AccountStatus.ACTIVE if policy is Registration.OPEN else AccountStatus.PENDING,
        )
    except PasswordRefused as error:
        raise _refused(error) from error
    except Conflict as error:
        raise Problem(409, "account-exists", f"This {error.field} is already in use.") from error
    record(context, request, "register", user=user)
    return user


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a sign-in hands out. access: for a bearer, or for a browser's cookie. refresh: '' for a browser."""

    user: UserRow
    access: str
    refresh: str = ""


def sign_in(context: WebContext, request: Request, credentials: Credentials, *, for_pages: bool = False) -> Tokens:
    """Check name (or e-mail address) and password and return the account with new tokens.

    An unknown name and a wrong password cost the same time and give the same answer.

    Raises:
        Problem: 401 for wrong credentials, 403 for an account that is pending or disabled (told only to who knows its
            password), 422 for a password no account can have, 429.
    """
    address = client_address(request)
    context.limits.check_login(address, credentials.username)
    name = credentials.username.strip()
    user = context.users.by_email(name) if "@" in name else None
    user = user or context.users.by_username(name)
    try:
        right = context.hasher.verify(credentials.password, user.hashed_password if user else None)
    except PasswordRefused as error:
        raise _refused(error) from error
    if not right or user is None:
        record(context, request, "sign-in", user=user, outcome="failure", reason="wrong name or password")
        raise Problem(
            401, "wrong-credentials", "The name or the password is wrong.", headers={"WWW-Authenticate": "Bearer"}
        )
    tokens = enter(context, request, user, by="password", for_pages=for_pages)
    context.limits.login_succeeded(address, credentials.username)
    return tokens


def enter(context: WebContext, request: Request, user: UserRow, *, by: str, for_pages: bool) -> Tokens:
    """Open a sign-in of an account whose owner has proved to be there. by: what proved it, for the audit trail.

    Raises:
        Problem: 403 for an account that is pending or disabled.
    """
    if user.status is not AccountStatus.ACTIVE:
        record(context, request, "sign-in", user=user, outcome="failure", reason=str(user.status), by=by)
        waiting = user.status is AccountStatus.PENDING
        detail = "This account waits for an administrator's approval." if waiting else "This account is disabled."
        raise Problem(403, f"account-{user.status}", detail)
    sign_in_id = str(uuid.uuid4())
    refresh = context.tokens.new_refresh_token(sign_in_id)
    context.sign_ins.open(
        sign_in_id,
        user_id=user.id,
        token_version=user.token_version,
        refresh_sha256=refresh_sha256(refresh),
        lifetime=context.tokens.sign_in_lifetime,
        address=client_address(request),
    )
    record(context, request, "sign-in", user=user, by=by)
    access = context.tokens.issue(user.id, user.token_version, sign_in_id, for_pages=for_pages)
    # A browser is handed no refresh token: its cookie lasts as long as the sign-in and is checked at each request.
    return Tokens(user=user, access=access, refresh="" if for_pages else refresh)


def refresh(context: WebContext, request: Request, token: str) -> Tokens:
    """Exchange a refresh token for new tokens. One that was exchanged before ends its sign-in: somebody has a copy.

    Raises:
        Problem: 401, one answer for every reason; 429.
    """
    context.limits.check_refresh(client_address(request))
    sign_in_id = token.partition(".")[0]
    following = context.tokens.new_refresh_token(sign_in_id)
    outcome, row = context.sign_ins.rotate(sign_in_id, refresh_sha256(token), refresh_sha256(following))
    if outcome is Rotation.ROTATED and row is not None:
        user = context.users.by_id(row.user_id)
        if user.status is AccountStatus.ACTIVE:
            access = context.tokens.issue(user.id, user.token_version, row.id)
            return Tokens(user=user, access=access, refresh=following)
    if outcome is Rotation.REUSED and row is not None:
        owner = context.users.by_id(row.user_id)
        record(context, request, "refresh", user=owner, outcome="failure", reason="refresh token used twice")
    raise Problem(401, "refresh-refused", "Sign in again.", headers={"WWW-Authenticate": "Bearer"})


def sign_out(context: WebContext, request: Request, session: Session, *, everywhere: bool) -> None:
    """End this sign-in, or every sign-in of the account."""
    if everywhere or not session.claims.sign_in_id:
        context.users.revoke_tokens(session.user.id)
        context.sign_ins.end_all(session.user.id, "sign-out everywhere")
    else:
        context.sign_ins.end(session.claims.sign_in_id, "sign-out")
    record(context, request, "sign-out", user=session.user, everywhere=everywhere)


def change_profile(context: WebContext, request: Request, session: Session, change: ProfileChange) -> UserRow:
    """Change one's own account. A new password ends every sign-in, this one too.

    Raises:
        Problem: 409 for a taken address, 403 for a wrong current password, 422 for a new one that is refused, 429.
    """
    user = session.user
    if change.new_password is not None:
        _change_password(context, request, user, change)
    if change.email is not None and change.email != user.email and change.new_password is None:
        # The address can sign in, so it is not changed by who merely found an open browser.
        _check_current(context, request, user, change.current_password)
    fields = change.model_dump(exclude_none=True, exclude={"current_password", "new_password"})
    if not fields:
        return context.users.by_id(user.id)
    try:
        changed = context.users.update_profile(user.id, **fields)
    except Conflict as error:
        raise Problem(409, "account-exists", f"This {error.field} is already in use.") from error
    record(context, request, "change-profile", user=user, fields=sorted(fields))
    return changed


def _check_current(context: WebContext, request: Request, user: UserRow, password: str | None) -> None:
    context.limits.check_login(client_address(request), user.username)
    try:
        if password is not None and context.hasher.verify(password, user.hashed_password):
            return
    except PasswordRefused as error:
        raise _refused(error) from error
    record(context, request, "change-password", user=user, outcome="failure")
    raise Problem(403, "wrong-password", "Give your current password to change your address or password.")


def _change_password(context: WebContext, request: Request, user: UserRow, change: ProfileChange) -> None:
    assert change.new_password is not None
    _check_current(context, request, user, change.current_password)
    try:
        context.users.set_password(user.id, context.hasher.hash(change.new_password))
    except PasswordRefused as error:
        raise _refused(error) from error
    record(context, request, "change-password", user=user)
