"""The way to the identity provider and back, for browsers. Programs sign in with a password at /api/auth/login."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from web import auth
from web.context import WebContext
from web.dependencies import Context, client_address
from web.oidc import OidcSignIn
from web.oidc_accounts import account_for
from web.oidc_attempts import LASTS
from web.oidc_settings import CALLBACK_PATH
from web.pages import local_path, see_other, set_session_cookie
from web.problems import Problem
from web.stranger_pages import sign_in_form
from web.trail import record

router = APIRouter(include_in_schema=False)


async def _configured(context: Context) -> OidcSignIn:
    """Dependency: sign-in by the identity provider.

    Raises:
        Problem: 404 where none is configured.
    """
    if context.oidc is None:
        raise Problem(404, "oidc-off", "This node has no identity provider; sign in with your password.")
    return context.oidc


Oidc = Annotated[OidcSignIn, Depends(_configured)]


def attempt_cookie_name(secure: bool) -> str:
    """Return the cookie's name; the __Host- prefix pins it to this host and to https."""
    return "__Host-btn_oidc" if secure else "btn_oidc"


@router.get("/sign-in/oidc")
def begin(
    request: Request, context: Context, oidc: Oidc, next: Annotated[str, Query(max_length=1000)] = "/"
) -> Response:
    """Send the browser to the identity provider."""
    try:
        context.limits.check_oidc(client_address(request))
        address, cookie = oidc.begin(local_path(next))
    except Problem as problem:
        return _refused(request, context, problem, local_path(next))
    response = see_other(address)
    secure = context.settings.cookie_secure
    response.set_cookie(
        attempt_cookie_name(secure),
        cookie,
        max_age=int(LASTS.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        # Lax: the browser comes back from another site.
        samesite="lax",
    )
    return response


@router.get(CALLBACK_PATH)
def finish(request: Request, context: Context, oidc: Oidc) -> Response:
    """Sign in the browser that comes back from the identity provider."""
    name = attempt_cookie_name(context.settings.cookie_secure)
    try:
        context.limits.check_oidc(client_address(request))
        try:
            person, next_path = oidc.finish(request.cookies.get(name, ""), request.query_params)
            user = account_for(context, request, oidc.settings, person)
        except Problem as problem:
            record(context, request, "sign-in", outcome="failure", by="identity provider", reason=problem.slug)
            raise
        tokens = auth.enter(context, request, user, for_pages=True, by="identity provider")
    except Problem as problem:
        response = _refused(request, context, problem, "/")
    else:
        response = see_other(local_path(next_path))
        set_session_cookie(response, context, tokens.access)
    response.delete_cookie(name, path="/", secure=context.settings.cookie_secure, httponly=True, samesite="lax")
    return response


def _refused(request: Request, context: WebContext, problem: Problem, next_path: str) -> Response:
    """The sign-in form with what was wrong: the password's way stays open."""
    response = sign_in_form(request, context, code=problem.status, error=problem.detail, next_path=next_path)
    response.headers.update(problem.headers)
    return response
