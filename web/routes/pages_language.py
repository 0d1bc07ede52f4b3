"""POST /language: the language of the pages, kept in this browser."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from web import page_languages
from web.dependencies import Context
from web.pages import local_path, refuse_cross_site, see_other
from web.problems import Problem

router = APIRouter(include_in_schema=False)

_KEPT_S = 365 * 24 * 3600


@router.post("/language")
async def choose_language(request: Request, context: Context) -> Response:
    """Keep the language chosen and go back to the page. Strangers may: it changes nothing here but a cookie."""
    refuse_cross_site(request)
    form = await request.form(max_files=0, max_fields=5)
    language = str(form.get("language") or "")
    if language not in page_languages.LANGUAGES:
        raise Problem(422, "language-unknown", "The pages do not speak this language.")
    response = see_other(local_path(str(form.get("next") or "/")))
    response.set_cookie(
        page_languages.COOKIE,
        language,
        max_age=_KEPT_S,
        path="/",
        secure=context.settings.cookie_secure,
        httponly=True,
        samesite="lax",
    )
    return response
