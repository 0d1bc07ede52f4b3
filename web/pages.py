"""What every page needs: rendering, the signed-in visitor, forms with their CSRF value, and safe redirects."""

from __future__ import annotations

from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from web import page_languages
from web.context import WebContext
from web.dependencies import Context, Session, optional_session, session_cookie_name, session_now
from web.problems import FieldProblem, Problem, problem_response
from web.security_headers import fixed_headers

VISIT_COOKIE = "btn_visit"
_DATA_PATHS = ("/api/", "/dicom-web/", "/health/", "/metrics", "/static/")
_SMALL_FORM_FIELDS = 50


def render(
    request: Request,
    context: WebContext,
    template: str,
    session: Session | None,
    *,
    code: int = 200,
    **values: Any,
) -> Response:
    """Return a page with an HTTP status code. `here` names the entry of the navigation that is current."""
    language = page_languages.choose(
        request.cookies.get(page_languages.COOKIE, ""), request.headers.get("Accept-Language", "")
    )
    values = {"session": session, "here": "", "current_path": _path(request), **values}
    response = context.templates[language].TemplateResponse(request, template, values, status_code=code)
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Language, Cookie"
    return response


def _path(request: Request) -> str:
    """Where a form that changes how pages look comes back to: this page, or the list where it was a form's answer."""
    if request.method != "GET" or "HX-Request" in request.headers:
        return "/"
    return local_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))


def see_other(path: str) -> Response:
    """Return a redirect after a form, so that reloading the page does not send it twice."""
    return RedirectResponse(path, status_code=303)


def local_path(text: str) -> str:
    """Return a path of this site, '/' for anything that could lead elsewhere."""
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if safe and len(text) < 1000 else "/"


async def visitor(session: Annotated[Session | None, Depends(optional_session)]) -> Session:
    """Dependency: who looks at the page.

    Raises:
        Problem: 401, which for a page becomes a redirect to the sign-in.
    """
    if session is None or not session.by_cookie:
        raise Problem(401, "not-signed-in", "Sign in first.")
    return session


Visitor = Annotated[Session, Depends(visitor)]


async def admin_visitor(session: Visitor) -> Session:
    """Dependency: an administrator looking at the page.

    Raises:
        Problem: 401, 403.
    """
    if session.user.role != "admin":
        raise Problem(403, "role", "This page is for administrators.")
    return session


AdminVisitor = Annotated[Session, Depends(admin_visitor)]


async def clinical_visitor(session: Visitor) -> Session:
    """Dependency: a doctor or an administrator looking at the page.

    Raises:
        Problem: 401, 403.
    """
    if session.user.role not in ("admin", "doctor"):
        raise Problem(403, "role", "This page is for doctors and administrators.")
    return session


ClinicalVisitor = Annotated[Session, Depends(clinical_visitor)]


def refuse_cross_site(request: Request) -> None:
    """Refuse a form another site sent, where the browser says so.

    Raises:
        Problem: 403.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "csrf", "This form was sent by another site.")


def check_csrf(context: WebContext, session: Session, form: FormData) -> None:
    """Refuse a form without the CSRF value of this sign-in.

    Raises:
        Problem: 403.
    """
    if not context.tokens.csrf_matches(session.claims.token_id, str(form.get("csrf") or "")):
        raise Problem(403, "csrf", "This form is out of date; go back, reload the page and send it again.")


async def signed_form(request: Request, context: Context, session: Visitor) -> FormData:
    """Dependency: the fields of a small form of a signed-in visitor.

    Raises:
        Problem: 403 without the right CSRF value.
    """
    refuse_cross_site(request)
    form = await request.form(max_files=0, max_fields=_SMALL_FORM_FIELDS)
    check_csrf(context, session, form)
    return form


SignedForm = Annotated[FormData, Depends(signed_form)]


def set_session_cookie(response: Response, context: WebContext, token: str) -> None:
    """Sign this browser in."""
    secure = context.settings.cookie_secure
    response.set_cookie(
        session_cookie_name(secure),
        token,
        max_age=int(context.tokens.sign_in_lifetime.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def respond(request: Request, problem: Problem, errors: list[FieldProblem] | None) -> Response:
    """Answer a failure: problem+json for the API, a page or the sign-in for people."""
    context = cast(WebContext, request.app.state.context)
    if request.url.path.startswith(_DATA_PATHS):
        response = problem_response(problem, errors)
    elif problem.status == 401:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        sign_in = "/sign-in"
        if request.method == "GET" and "HX-Request" not in request.headers:
            sign_in += "?" + urlencode({"next": wanted})
        response = see_other(sign_in)
        if "HX-Request" in request.headers:
            response = Response(status_code=204, headers={"HX-Redirect": sign_in})
    else:
        session = session_now(request, context)
        response = render(request, context, "error.html", session, code=problem.status, problem=_shown(problem, errors))
    # An unexpected failure is answered outside the middleware that adds these.
    for name, value in {**fixed_headers(context.settings.cookie_secure), "Cache-Control": "no-store"}.items():
        response.headers.setdefault(name, value)
    return response


def _shown(problem: Problem, errors: list[FieldProblem] | None) -> dict[str, object]:
    titles = {403: "Not allowed", 404: "Not found", 409: "Not possible now", 413: "Too large", 422: "Not accepted"}
    title = titles.get(problem.status, "Something went wrong")
    return {"title": title, "detail": problem.detail, "errors": errors or []}
