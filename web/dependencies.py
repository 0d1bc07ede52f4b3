"""Who is asking: the signed-in account of a request, and what its role may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.concurrency import run_in_threadpool

from storage.users import UserRow
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


async def optional_session(request: Request, context: Context) -> Session | None:
    """Dependency: who is signed in by bearer token or cookie, None for a stranger or a token that does not hold."""
    found = _offered(request, context)
    if found is None:
        return None
    claims, by_cookie = found
    known, user = context.gate.remembered(claims)
    if not known:
        user = await run_in_threadpool(context.gate.find, claims)
    return None if user is None else _session(context, user, claims, by_cookie)


def session_now(request: Request, context: WebContext) -> Session | None:
    """Who is signed in, for code outside an event loop."""
    found = _offered(request, context)
    if found is None:
        return None
    claims, by_cookie = found
    user = context.gate.find(claims)
    return None if user is None else _session(context, user, claims, by_cookie)


def _session(context: WebContext, user: UserRow, claims: Claims, by_cookie: bool) -> Session:
    return Session(user=user, claims=claims, csrf=context.tokens.csrf(claims.token_id), by_cookie=by_cookie)


def _offered(request: Request, context: WebContext) -> tuple[Claims, bool] | None:
    """What the request's token says, and whether it came as a cookie; None without one that holds by itself."""
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
    except InvalidToken:
        return None
    # A page's token lives for hours and a script must not get to use it as a bearer token.
    return None if claims.for_pages and not by_cookie else (claims, by_cookie)


async def signed_in(
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


def need_role(*roles: str) -> Callable[[Session], Awaitable[Session]]:
    """Return a dependency that lets only these roles pass.

    The dependency raises Problem 403 for others.
    """

    async def check(session: SignedIn) -> Session:
        if session.user.role not in roles:
            raise Problem(403, "role", f"This needs the role {' or '.join(roles)}.")
        return session

    return check


AdminOnly = Annotated[Session, Depends(need_role("admin"))]
Clinical = Annotated[Session, Depends(need_role("admin", "doctor"))]


def client_address(request: Request) -> str:
    """Return the peer's address, for rate limits and the audit trail."""
    return request.client.host if request.client else "unknown"
