"""Headers every answer carries: what a browser may load, keep and frame."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def fixed_headers(https_only: bool) -> dict[str, str]:
    """Return the headers that are the same on every answer."""
    return _HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if https_only else {})


class SecurityHeaders:
    """ASGI middleware. Everything but the static files is `no-store`, so that no patient stays in a cache."""

    def __init__(self, app: ASGIApp, *, https_only: bool) -> None:
        self._app = app
        fixed = [(name.lower().encode(), value.encode()) for name, value in fixed_headers(https_only).items()]
        self._private = [*fixed, (b"cache-control", b"no-store")]
        self._static = [*fixed, (b"cache-control", b"public, max-age=3600")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ours = self._static if scope["path"].startswith("/static/") else self._private

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                theirs = list(message.get("headers", ()))
                named = {name.lower() for name, _ in theirs}
                message["headers"] = theirs + [header for header in ours if header[0] not in named]
            await send(message)

        await self._app(scope, receive, send_with_headers)
