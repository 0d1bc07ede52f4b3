"""JSON from the identity provider over HTTP: no redirects, bounded in size and time, its certificate always checked."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener, getproxies

MAXIMUM_BYTES = 256 * 1024
_SILENCE_S = 5.0
_WHOLE_S = 10.0
_CHUNK_BYTES = 16 * 1024


class ProviderFault(Exception):
    """The identity provider cannot be used now. The message is one line for the log, without secrets and persons."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Leave a redirect unanswered: it would take codes and secrets to an address nobody checked."""
        return None


class ProviderHttp:
    """Asks one provider. tls: how its certificate is checked. Only https goes through the environment's proxy."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        proxies = {scheme: proxy for scheme, proxy in getproxies().items() if scheme == "https"}
        self._opener = build_opener(ProxyHandler(proxies), HTTPSHandler(context=tls), _NoRedirects())

    def get(self, url: str) -> dict[str, Any]:
        """Return the JSON object at an address.

        Raises:
            ProviderFault: no answer, another status than 200, too large, or no JSON object.
        """
        status, values = self._ask(Request(url, headers={"Accept": "application/json"}))
        if status != 200:
            raise ProviderFault(f"it answers {status}")
        return values

    def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Send a form; return the status and the JSON object of the answer.

        Raises:
            ProviderFault: no answer, too large, or no JSON object.
        """
        body = urlencode(fields).encode()
        return self._ask(Request(url, data=body, headers={"Accept": "application/json", **headers}))

    def _ask(self, request: Request) -> tuple[int, dict[str, Any]]:
        deadline = time.monotonic() + _WHOLE_S
        try:
            try:
                answer = self._opener.open(request, timeout=_SILENCE_S)
            except HTTPError as error:
                answer = error  # an answer all the same: the token endpoint says what was wrong
            with answer:
                status, body = int(answer.status), _read(answer, deadline)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ProviderFault(f"no answer ({type(reason).__name__})") from None
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            raise ProviderFault(f"it answers {status} without JSON") from None
        if not isinstance(values, dict):
            raise ProviderFault(f"it answers {status} with JSON that is no object")
        return status, values


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while chunk := answer.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAXIMUM_BYTES:
            raise ProviderFault(f"its answer has more than {MAXIMUM_BYTES} bytes")
        if time.monotonic() > deadline:
            raise ProviderFault(f"its answer takes longer than {_WHOLE_S:.0f} s")
    return bytes(body)
