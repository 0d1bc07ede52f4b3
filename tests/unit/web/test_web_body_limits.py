from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web.body_limits import BodyLimits


def answer_to(chunks: Iterator[bytes], *headers: tuple[bytes, bytes], silence_s: float = 0.0) -> tuple[int, int]:
    """Send a body chunk by chunk; return the status and how many chunks were read."""

    async def endpoint(request: Request) -> Response:
        return Response(str(len(await request.body())))

    inner = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    too_large = Response(status_code=413)
    app = BodyLimits(inner, limit_for=lambda path: 1000, chunk_timeout_s=0.2, too_large=too_large)
    statuses: list[int] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        await asyncio.sleep(silence_s)
        chunk = next(chunks, None)
        read += chunk is not None
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": list(headers),
        "http_version": "1.1",
        "scheme": "http",
    }
    asyncio.run(app(scope, receive, send))
    return statuses[0], read


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 100


def test_a_body_within_the_limit_passes() -> None:
    assert answer_to(iter([b"x" * 500, b"x" * 500])) == (200, 2)


def test_a_body_without_end_is_cut_off_at_the_limit() -> None:
    assert answer_to(endless()) == (413, 11)


@pytest.mark.parametrize("length", [b"1001", b"-1", b"nan", b"9" * 5000])
def test_a_declared_length_is_refused_unread(length: bytes) -> None:
    assert answer_to(endless(), (b"content-length", length)) == (413, 0)


def test_silence_ends_the_upload() -> None:
    assert answer_to(endless(), silence_s=1.0) == (408, 0)
