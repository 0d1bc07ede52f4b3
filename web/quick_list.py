"""GET /api/scans without filters, answered before the routes: what every open dashboard asks again and again.

The same bytes as the route's, whose place it takes only where nothing is left to decide: a bearer token that holds, a
view that the audit trail has already (`ViewLog`), a page of the plain list. All else goes on to the route, which is
also what the OpenAPI document describes.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.errors import InvalidQuery, StorageError
from storage.quick_lines import LineReader
from storage.scan_pages import LINE_FIELDS, MAX_LIMIT, Order, ScanFilter, decode_cursor, encode_cursor
from storage.users import UserRow
from web.context import WebContext
from web.scan_view import LINE_NAMES, page_json
from web.tokens import InvalidToken
from web.trail import view_key

PATH = "/api/scans"
_ALLOWED = {
    "limit": re.compile(r"[1-9][0-9]{0,2}"),
    "sort": re.compile(r"-?createdAt"),
    "cursor": re.compile(r"[A-Za-z0-9_-]{1,400}"),
}
_PLAIN = ScanFilter()
_CREATED_AT = LINE_FIELDS.index("created_at")
# Metrics and the access log call an answer by its route.
_ROUTE = SimpleNamespace(path=PATH)


class QuickList:
    """ASGI middleware next to the routes."""

    def __init__(self, app: ASGIApp, *, context: WebContext, reader: LineReader) -> None:
        self._app = app
        self._context = context
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a page of the plain list, pass everything else on."""
        body = None
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "GET":
            body = await self._body(scope)
        if body is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, scope: Scope) -> bytes | None:
        asked = _asked(scope["query_string"].decode("latin-1"))
        if asked is None:
            return None
        limit, order = int(asked.get("limit", 50)), _order(asked)
        try:
            user = await self._user(scope)
            if limit > MAX_LIMIT or user is None or not self._is_recorded(scope, user):
                return None
            place = decode_cursor(asked["cursor"], _PLAIN, order) if "cursor" in asked else None
        except (InvalidQuery, InvalidToken, StorageError):
            return None  # the route refuses it in its own words
        found = await self._reader.read(place, limit + 1, order)
        # Results without their line have to be read for it.
        if found is None or any(line[-1] for line in found):
            return None
        shown = found[:limit]
        following = encode_cursor(shown[-1][_CREATED_AT], shown[-1][0], _PLAIN, order) if len(found) > limit else None
        items = [dict(zip(LINE_NAMES, line, strict=False)) for line in shown]
        for item in items:
            item["modalities"] = orjson.Fragment(item["modalities"])
        return page_json(items, following)

    async def _user(self, scope: Scope) -> UserRow | None:
        offered = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = offered[0].decode("latin-1").partition(" ") if len(offered) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            return None
        claims = self._context.tokens.read(token)
        if claims.for_pages:
            return None
        known, user = self._context.gate.remembered(claims)
        return user if known else await run_in_threadpool(self._context.gate.find, claims)

    def _is_recorded(self, scope: Scope, user: UserRow) -> bool:
        address = scope["client"][0] if scope.get("client") else "unknown"
        return self._context.views.is_written(view_key("list-scans", user, address))


def _asked(query: str) -> dict[str, str] | None:
    """The parameters by name; None where there is one that the plain list does not have, or one twice."""
    pairs = [part.partition("=") for part in query.split("&")] if query else []
    asked = {name: value for name, _, value in pairs}
    usable = all(name in _ALLOWED and _ALLOWED[name].fullmatch(value) for name, value in asked.items())
    return asked if usable and len(asked) == len(pairs) else None


def _order(asked: dict[str, str]) -> Order:
    return "oldest" if asked.get("sort") == "createdAt" else "newest"
