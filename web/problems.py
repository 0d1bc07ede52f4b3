"""Errors as problem+json (RFC 9457), with one shape for every failure of the API."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:brain-tumor-node:problem:"

log = logging.getLogger(__name__)


class Problem(Exception):
    """A refusal with its HTTP status and a stable word.

    slug: ends the problem's type URI; scripts may branch on it. detail: what is wrong and what to do, for people.
    """

    def __init__(self, status: int, slug: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})


class FieldProblem(BaseModel):
    """One field of a request that was not accepted."""

    field: str = Field(examples=["email"])
    reason: str = Field(examples=["Field required"])


class ProblemDetails(BaseModel):
    """Why a request was refused."""

    type: str = Field(examples=[_TYPE_PREFIX + "scan-not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["No scan has this id."])
    errors: list[FieldProblem] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route that may answer with these problem statuses."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def problem_response(problem: Problem, errors: list[FieldProblem] | None = None) -> Response:
    """Render a problem. Never cached: an answer to one person is not another's."""
    body = ProblemDetails(
        type=_TYPE_PREFIX + problem.slug,
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=errors,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def validation_problem(error: RequestValidationError) -> tuple[Problem, list[FieldProblem]]:
    """Return a refusal that names each field and reason and never repeats the value (it may be a password)."""
    fields = [
        FieldProblem(field=".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]), reason=item["msg"])
        for item in error.errors()
    ]
    names = ", ".join(dict.fromkeys(field.field for field in fields))
    return Problem(422, "invalid-request", f"These fields were not accepted: {names[:500]}."), fields[:50]


def _from_http(error: HTTPException) -> Problem:
    slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return Problem(error.status_code, slug, str(error.detail), headers=error.headers)


Respond = Callable[[Request, Problem, list[FieldProblem] | None], Response]


def install(app: FastAPI, respond: Respond) -> None:
    """Make every failure a problem, answered by `respond` (problem+json for the API, a page for pages)."""

    def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(request, error, None)

    def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(request, *validation_problem(error))

    def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(request, _from_http(error), None)

    def on_failure(request: Request, error: Exception) -> Response:
        # The exception's own text may hold a row's values, so the frames are logged and the text is not.
        frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
        log.error("unhandled %s in %s %s\n%s", type(error).__name__, request.method, _route(request), frames)
        return respond(
            request, Problem(500, "internal-error", "The node could not answer this request; its log says why."), None
        )

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_failure)


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", "an unknown path"))
