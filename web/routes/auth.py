"""/api/auth: register, login, refresh, logout, and one's own account."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from web import auth
from web.account_schemas import Credentials, ProfileChange, RefreshRequest, Registration, TokenAnswer, UserOut
from web.context import WebContext
from web.dependencies import Context, SignedIn
from web.problems import Problem, documented

router = APIRouter(prefix="/api/auth", tags=["accounts"])

_LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": Credentials.model_json_schema()}
            for kind in ("application/json", "application/x-www-form-urlencoded")
        },
    }
}


@router.post("/register", status_code=201, responses=documented(403, 409, 413, 422, 429))
def register(form: Registration, request: Request, context: Context) -> UserOut:
    """Ask for an account. Under the default policy it is `pending` until an administrator approves it."""
    return auth.user_out(auth.register(context, request, form))


@router.post("/login", responses=documented(400, 401, 403, 413, 415, 422, 429), openapi_extra=_LOGIN_BODY)
async def login(request: Request, context: Context) -> TokenAnswer:
    """Sign in with name or e-mail address and password, as JSON or as a form (OAuth 2 password style)."""
    credentials = await _credentials(request)
    return _answer(context, await run_in_threadpool(auth.sign_in, context, request, credentials))


def _answer(context: WebContext, tokens: auth.Tokens) -> TokenAnswer:
    return TokenAnswer(
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        expires_in=context.tokens.lifetime_s,
        user=auth.user_out(tokens.user),
    )


@router.post("/refresh", responses=documented(401, 413, 422, 429))
def refresh(wanted: RefreshRequest, request: Request, context: Context) -> TokenAnswer:
    """Exchange a refresh token for new tokens. Used a second time it ends the sign-in: somebody else has a copy."""
    return _answer(context, auth.refresh(context, request, wanted.refresh_token))


async def _credentials(request: Request) -> Credentials:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = await request.form(max_files=0, max_fields=20)
        fields: object = {name: form[name] for name in ("username", "password") if name in form}
    elif kind == "application/json":
        try:
            fields = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise Problem(400, "invalid-json", "The body is no valid JSON.") from error
    else:
        raise Problem(415, "unsupported-media-type", "Send application/json or a form.")
    try:
        return Credentials.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in error.errors()]) from error


@router.post("/logout", status_code=204, responses=documented(401, 403, 422))
def logout(
    request: Request,
    context: Context,
    session: SignedIn,
    everywhere: Annotated[bool, Query(description="false: this sign-in only.")] = True,
) -> None:
    """End every sign-in of this account, on every device, or this one: its tokens no longer hold."""
    auth.sign_out(context, request, session, everywhere=everywhere)


@router.get("/me", responses=documented(401))
def me(session: SignedIn) -> UserOut:
    """Return one's own account."""
    return auth.user_out(session.user)


@router.put("/me", responses=documented(401, 403, 409, 413, 422, 429))
def change_me(change: ProfileChange, request: Request, context: Context, session: SignedIn) -> UserOut:
    """Change one's own account; a new password needs the current one and signs every device out."""
    return auth.user_out(auth.change_profile(context, request, session, change))
