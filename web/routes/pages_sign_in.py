"""Pages for strangers: sign-in and asking for an account; and signing out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from web import auth
from web.account_schemas import Credentials, Registration
from web.dependencies import Context, Session, optional_session, session_cookie_name
from web.pages import (
    VISIT_COOKIE,
    SignedForm,
    Visitor,
    local_path,
    refuse_cross_site,
    see_other,
    set_session_cookie,
)
from web.problems import Problem
from web.settings import Registration as Policy
from web.stranger_pages import sign_in_form, visit_form_page

router = APIRouter(include_in_schema=False)

_FORM_FIELDS = ("username", "email", "fullName", "title", "department", "institution")


async def visit_form(request: Request, context: Context) -> FormData:
    """Dependency: the fields of a form sent by a stranger.

    Raises:
        Problem: 403 without the CSRF value of this visit.
    """
    refuse_cross_site(request)
    form = await request.form(max_files=0, max_fields=20)
    visit = request.cookies.get(VISIT_COOKIE, "")
    if not visit or not context.tokens.csrf_matches("visit:" + visit, str(form.get("csrf") or "")):
        raise Problem(403, "csrf", "This form is out of date; go back, reload the page and send it again.")
    return form


VisitForm = Annotated[FormData, Depends(visit_form)]


@router.get("/sign-in")
def sign_in_page(
    request: Request,
    context: Context,
    session: Annotated[Session | None, Depends(optional_session)],
    next: Annotated[str, Query(max_length=1000)] = "/",
) -> Response:
    """Show the sign-in form, or go on where somebody is signed in."""
    if session is not None and session.by_cookie:
        return see_other(local_path(next))
    return sign_in_form(request, context, next_path=local_path(next))


@router.post("/sign-in")
async def sign_in(request: Request, context: Context, form: VisitForm) -> Response:
    """Sign this browser in."""
    username = str(form.get("username") or "")
    next_path = local_path(str(form.get("next") or "/"))
    try:
        credentials = Credentials(username=username, password=str(form.get("password") or ""))
        tokens = await run_in_threadpool(lambda: auth.sign_in(context, request, credentials, for_pages=True))
    except (Problem, ValidationError) as error:
        response = sign_in_form(
            request,
            context,
            code=error.status if isinstance(error, Problem) else 422,
            error=error.detail if isinstance(error, Problem) else "The name or the password is too long.",
            username=username[:254],
            next_path=next_path,
        )
        response.headers.update(error.headers if isinstance(error, Problem) else {})
        return response
    response = see_other(next_path)
    set_session_cookie(response, context, tokens.access)
    response.delete_cookie(VISIT_COOKIE, path="/")
    return response


@router.post("/sign-out")
def sign_out(request: Request, context: Context, session: Visitor, _form: SignedForm) -> Response:
    """End every sign-in of this account, on every device."""
    auth.sign_out(context, request, session, everywhere=True)
    response = see_other("/sign-in")
    response.delete_cookie(session_cookie_name(context.settings.cookie_secure), path="/")
    return response


@router.get("/register")
def register_page(request: Request, context: Context) -> Response:
    """Show the form for a new account."""
    if context.settings.registration is Policy.CLOSED:
        raise Problem(403, "registration-closed", "This node takes no registrations; ask its administrator.")
    return visit_form_page(request, context, "register.html", error="", form=dict.fromkeys(_FORM_FIELDS, ""))


@router.post("/register")
async def register(request: Request, context: Context, form: VisitForm) -> Response:
    """Create the account, then show the sign-in form."""
    fields = {name: str(form.get(name) or "") for name in _FORM_FIELDS}
    try:
        wanted = Registration.model_validate({**fields, "password": str(form.get("password") or "")})
        await run_in_threadpool(auth.register, context, request, wanted)
    except (Problem, ValidationError) as error:
        if isinstance(error, Problem):
            code, text = error.status, error.detail
        else:
            code = 422
            names = dict.fromkeys(str(item["loc"][0]) for item in error.errors())
            text = f"Check these fields: {', '.join(names)}."
        shown = {name: value[:254] for name, value in fields.items()}
        return visit_form_page(request, context, "register.html", code=code, error=text, form=shown)
    waiting = context.settings.registration is Policy.APPROVAL
    message = "Your account waits for an administrator's approval." if waiting else "Your account is ready."
    return sign_in_form(request, context, message=message, username=wanted.username)
