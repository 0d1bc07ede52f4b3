"""How much a request may send, and how slowly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BODY_BYTES = 256 * 1024
_GRACE_S = 60.0
_LEAST_BYTES_PER_S = 8 * 1024


class BodyLimits:
    """ASGI middleware. limit_for: path to the largest body in bytes; chunk_timeout_s: longest silence within a body.

    A body over its limit is answered 413 as soon as that is known, a silent or crawling one 408.
    """

    def __init__(
        self, app: ASGIApp, *, limit_for: Callable[[str], int], chunk_timeout_s: float, too_large: Response
    ) -> None:
        self._app = app
        self._limit_for = limit_for
        self._chunk_timeout_s = chunk_timeout_s
        self._too_large = too_large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that is counted while it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_for(scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > limit:
            await self._too_large(scope, receive, send)
            return
        received = 0
        started = time.monotonic()
        complete = False

        async def counted() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(self._chunk_timeout_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "The upload fell silent; send it again.") from error
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise HTTPException(413, f"The request is larger than {limit} bytes.")
            if time.monotonic() - started > _GRACE_S + received / _LEAST_BYTES_PER_S:
                raise HTTPException(408, "The upload is too slow to be kept open; send it again.")
            return message

        await self._app(scope, counted, send)
