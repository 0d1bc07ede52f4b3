"""The OpenAPI document: FastAPI's own, with the problem schema every documented error refers to."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from web.problems import MEDIA_TYPE, ProblemDetails

_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}


def complete_openapi(app: FastAPI) -> None:
    """Replace the application's document by one in which every error answer is a problem."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version="1", description=app.description, routes=app.routes)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDetails"] = problem
    for operations in schema["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                # A body that is not even JSON or UTF-8 is refused before any model is asked.
                operation["responses"].setdefault(
                    "400", {"description": "Bad Request", "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
                )
            for status, answer in operation["responses"].items():
                # FastAPI documents its own validation errors as application/json; here they are problems.
                if status == "422":
                    answer["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    return schema
