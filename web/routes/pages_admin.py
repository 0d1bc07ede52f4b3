"""Administration: accounts are made, changed and signed out; peers, destinations and the test of one."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from storage.errors import NotFound
from storage.vocabulary import AccountStatus, Role
from web import accounts
from web.account_schemas import Registration
from web.context import WebContext
from web.dependencies import Context, Session
from web.neighbours import Answer
from web.pages import AdminVisitor, SignedForm, render, see_other
from web.problems import Problem
from web.routes.users import UserId
from web.trail import record

router = APIRouter(include_in_schema=False)

_NEW = ("username", "email", "fullName")
_ROLES = tuple(role.value for role in Role)


def _role(form: SignedForm) -> str:
    role = str(form.get("role") or "")
    if role not in _ROLES:
        raise Problem(422, "role-unknown", "Choose one of the roles.")
    return role


def _users_page(
    request: Request, context: WebContext, session: Session, *, code: int = 200, error: str = "", **fields: str
) -> Response:
    found = accounts.listed(context)
    return render(
        request,
        context,
        "users.html",
        session,
        here="users",
        code=code,
        users=found,
        pending=sum(user.status is AccountStatus.PENDING for user in found),
        error=error,
        form=dict.fromkeys(_NEW, "") | fields,
        account_roles=_ROLES,
    )


@router.get("/users")
def users(request: Request, context: Context, session: AdminVisitor) -> Response:
    """Show the accounts and who waits for approval."""
    return _users_page(request, context, session)


@router.post("/users")
async def create(request: Request, context: Context, session: AdminVisitor, form: SignedForm) -> Response:
    """Make an account that may sign in at once."""
    fields = {name: str(form.get(name) or "") for name in _NEW}
    try:
        role = _role(form)
        wanted = Registration.model_validate({**fields, "password": str(form.get("password") or "")})
        await run_in_threadpool(accounts.create, context, request, session.user, wanted, role)
    except (Problem, ValidationError) as error:
        if isinstance(error, Problem):
            code, text = error.status, error.detail
        else:
            names = dict.fromkeys(str(item["loc"][0]) for item in error.errors())
            code, text = 422, f"Check these fields: {', '.join(names)}."
        shown = {name: value[:254] for name, value in fields.items()}
        return await run_in_threadpool(lambda: _users_page(request, context, session, code=code, error=text, **shown))
    return see_other("/users")


@router.post("/users/{user_id}/role")
def change_role(
    user_id: UserId, request: Request, context: Context, session: AdminVisitor, form: SignedForm
) -> Response:
    """Give an account another role."""
    role = _role(form)
    try:
        accounts.change_role(context, request, session.user, user_id, role)
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error
    return see_other("/users")


@router.post("/users/{user_id}/sign-out")
def end_sign_ins(
    user_id: UserId, request: Request, context: Context, session: AdminVisitor, _form: SignedForm
) -> Response:
    """Sign an account out on every device."""
    try:
        accounts.end_sign_ins(context, request, session.user, user_id)
    except NotFound as error:
        raise Problem(404, "user-not-found", "No account has this id.") from error
    return see_other("/users")


def _peers_page(
    request: Request, context: WebContext, session: Session, tested: str = "", answer: Answer | None = None
) -> Response:
    circuits = {circuit.destination: circuit for circuit in context.circuits.all() if circuit.open}
    owed = {one.destination: one for one in context.health().owed}
    return render(
        request,
        context,
        "peers.html",
        session,
        here="peers",
        neighbours=context.neighbours,
        circuits=circuits,
        owed=owed,
        tested=tested,
        answer=answer,
    )


@router.get("/peers")
def peers(request: Request, context: Context, session: AdminVisitor) -> Response:
    """Show who may send here and where results go."""
    return _peers_page(request, context, session)


@router.post("/peers/test")
def ask_destination(request: Request, context: Context, session: AdminVisitor, form: SignedForm) -> Response:
    """Ask one of the configured destinations for a sign of life, and show what it said."""
    name = str(form.get("destination") or "")
    try:
        answer = context.neighbours.test(name)
    except KeyError as error:
        raise Problem(404, "destination-not-found", "No destination of the configuration has this name.") from error
    outcome: Literal["success", "failure"] = "success" if answer.ok else "failure"
    record(context, request, "test-destination", user=session.user, outcome=outcome, destination=name)
    return _peers_page(request, context, session, name, answer)
