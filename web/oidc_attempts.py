"""One attempt to sign in by the identity provider, kept in a signed cookie between the way there and the way back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

LASTS = timedelta(minutes=10)
_ALGORITHM = "HS256"
_PURPOSE = "oidc-attempt"
_MOST_CHARACTERS = 4096
_MOST_PATH_BYTES = 1500


class InvalidAttempt(Exception):
    """A cookie that this node did not make, that is out of date, or that was used before."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """state: comes back with the browser. nonce: comes back in the ID token. verifier: of PKCE (RFC 7636).

    next_path: where the visitor was going.
    """

    state: str
    nonce: str
    verifier: str
    next_path: str

    @property
    def challenge(self) -> str:
        """Return what the provider is told of the verifier: S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Attempts:
    """Makes attempts and takes each of them back once. secret: of the node's tokens; clock: aware UTC."""

    def __init__(self, secret: str, clock: Callable[[], datetime]) -> None:
        # Another key than that of sign-in tokens, so that neither can stand for the other.
        self._key = hmac.new(secret.encode(), b"oidc\0", hashlib.sha256).digest()
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, datetime] = {}

    def begin(self, next_path: str) -> tuple[Attempt, str]:
        """Return a new attempt and the cookie that keeps it. next_path: '/' where it is too long for a cookie."""
        attempt = Attempt(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            next_path=next_path if len(next_path.encode("utf-8", "replace")) <= _MOST_PATH_BYTES else "/",
        )
        claims = {
            "aud": _PURPOSE,
            "exp": int((self._clock() + LASTS).timestamp()),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "verifier": attempt.verifier,
            "next": attempt.next_path,
        }
        return attempt, jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def take(self, cookie: str, state: str) -> Attempt:
        """Return the attempt of a cookie and the state that came back; it can be taken once in this process.

        Raises:
            InvalidAttempt: no cookie or another's, another state, more than ten minutes ago, or taken before.
        """
        now = self._clock()
        try:
            claims = jwt.decode(
                cookie[:_MOST_CHARACTERS],
                self._key,
                algorithms=[_ALGORITHM],
                audience=_PURPOSE,
                options={"require": ["aud", "exp", "state", "nonce", "verifier", "next"], "verify_exp": False},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidAttempt(type(error).__name__) from None
        if now >= datetime.fromtimestamp(claims["exp"], tz=UTC):
            raise InvalidAttempt("expired")
        if not hmac.compare_digest(claims["state"].encode(), state.encode("utf-8", "replace")):
            raise InvalidAttempt("state")
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until > now}
            if claims["state"] in self._used:
                raise InvalidAttempt("used before")
            self._used[claims["state"]] = now + LASTS
        return Attempt(
            state=claims["state"], nonce=claims["nonce"], verifier=claims["verifier"], next_path=claims["next"]
        )
