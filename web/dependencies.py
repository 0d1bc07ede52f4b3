"""Who is asking: the signed-in account of a request, and what its role may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from storage.errors import NotFound
from storage.users import UserRow
from storage.vocabulary import AccountStatus
from web.context import WebContext, get_context
from web.problems import Problem
from web.tokens import Claims, InvalidToken

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"

# For the OpenAPI document only: `signed_in` reads the header itself, since pages sign in by cookie.
bearer_scheme = HTTPBearer(auto_error=False, description="The access_token that POST /api/auth/login returns.")

Context = Annotated[WebContext, Depends(get_context)]


@dataclass(frozen=True, kw_only=True)
class Session:
    """A request's signed-in account. csrf: the value its forms must carry."""

    user: UserRow
    claims: Claims
    csrf: str
    by_cookie: bool


def session_cookie_name(secure: bool) -> str:
    """Return the cookie's name; the __Host- prefix pins it to this host and to https."""
    return "__Host-btn_session" if secure else "btn_session"


def _unauthorised() -> Problem:
    # One text for every reason: a stranger learns nothing about which check failed.
    return Problem(401, "not-signed-in", "Sign in first.", headers={"WWW-Authenticate": "Bearer"})


def optional_session(request: Request, context: Context) -> Session | None:
    """Dependency: who is signed in by bearer token or cookie, None for a stranger or a token that does not hold."""
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    by_cookie = not scheme
    if by_cookie:
        token = request.cookies.get(session_cookie_name(context.settings.cookie_secure), "")
    elif scheme.lower() != "bearer":
        return None
    if not token:
        return None
    try:
        claims = context.tokens.read(token)
        user = context.users.by_id(claims.user_id)
    except (InvalidToken, NotFound):
        return None
    if user.status is not AccountStatus.ACTIVE or user.token_version != claims.token_version:
        return None
    return Session(user=user, claims=claims, csrf=context.tokens.csrf(claims.token_id), by_cookie=by_cookie)


def signed_in(
    request: Request,
    context: Context,
    session: Annotated[Session | None, Depends(optional_session)],
    _documented: Annotated[object, Depends(bearer_scheme)],
) -> Session:
    """Dependency: who is signed in.

    Raises:
        Problem: 401 for nobody; 403 where a cookie comes with a change but without its CSRF header.
    """
    if session is None:
        raise _unauthorised()
    if (
        session.by_cookie
        and request.method not in SAFE_METHODS
        and not context.tokens.csrf_matches(session.claims.token_id, request.headers.get(CSRF_HEADER, ""))
    ):
        raise Problem(403, "csrf", f"A change by cookie needs {CSRF_HEADER}; API clients send a bearer token.")
    return session


SignedIn = Annotated[Session, Depends(signed_in)]


def need_role(*roles: str) -> Callable[[Session], Session]:
    """Return a dependency that lets only these roles pass.

    The dependency raises Problem 403 for others.
    """

    def check(session: SignedIn) -> Session:
        if session.user.role not in roles:
            raise Problem(403, "role", f"This needs the role {' or '.join(roles)}.")
        return session

    return check


AdminOnly = Annotated[Session, Depends(need_role("admin"))]
Clinical = Annotated[Session, Depends(need_role("admin", "doctor"))]


def client_address(request: Request) -> str:
    """Return the peer's address, for rate limits and the audit trail."""
    return request.client.host if request.client else "unknown"
