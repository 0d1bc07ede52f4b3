"""Forms for strangers: their CSRF value is bound to a cookie of this visit."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

from fastapi import Request, Response

from web.context import WebContext
from web.pages import VISIT_COOKIE, render


def visit_form_page(
    request: Request, context: WebContext, template: str, *, code: int = 200, **values: object
) -> Response:
    """Return a page with a form for strangers; its CSRF value is bound to a cookie of this visit."""
    visit = request.cookies.get(VISIT_COOKIE, "")
    if not 20 <= len(visit) <= 100:
        visit = secrets.token_urlsafe(24)
    response = render(
        request,
        context,
        template,
        None,
        code=code,
        csrf=context.tokens.csrf("visit:" + visit),
        registration=context.settings.registration.value,
        **values,
    )
    response.set_cookie(
        VISIT_COOKIE,
        visit,
        max_age=3600,
        path="/",
        secure=context.settings.cookie_secure,
        httponly=True,
        samesite="lax",
    )
    return response


def sign_in_form(
    request: Request,
    context: WebContext,
    *,
    code: int = 200,
    error: str = "",
    message: str = "",
    username: str = "",
    next_path: str = "/",
) -> Response:
    """Return the sign-in form, with the identity provider's button where there is one. next_path: where it leads."""
    return visit_form_page(
        request,
        context,
        "sign_in.html",
        code=code,
        error=error,
        message=message,
        username=username,
        next=next_path,
        # A change of language must not come back to an address with a code in it.
        current_path="/sign-in" if next_path == "/" else "/sign-in?" + urlencode({"next": next_path}),
        provider=context.oidc.settings.label if context.oidc else "",
    )
