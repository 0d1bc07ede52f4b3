"""Sign-in tokens: JWT signed with HS256, read strictly, and the CSRF value bound to one sign-in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

ALGORITHM = "HS256"
MAXIMUM_TOKEN_CHARACTERS = 4096
_MOST_REMEMBERED = 4096
_LEEWAY = timedelta(seconds=30)
_PAGES = "pages"
_REQUIRED = ("sub", "iss", "aud", "exp", "iat", "jti", "ver")


class InvalidToken(Exception):
    """A token that does not sign anybody in. The reason is for the log; the caller's answer is always the same."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a valid token says: whom it signs in, under which version of the account and which sign-in, and until when.

    sign_in_id: '' for a token that belongs to none. for_pages: it holds as a browser's cookie only.
    """

    user_id: int
    token_version: int
    token_id: str
    expires_at: datetime
    sign_in_id: str = ""
    for_pages: bool = False


class TokenIssuer:
    """Issues and reads the tokens of one node.

    secret: at least 32 bytes of text. minutes: how long a bearer token lasts; sign_in_hours: a page's token and a
    sign-in as a whole. clock: aware UTC times, a parameter so that tests move it.
    """

    def __init__(
        self,
        *,
        secret: str,
        issuer: str,
        audience: str,
        minutes: int,
        clock: Callable[[], datetime],
        sign_in_hours: float = 12,
    ) -> None:
        self._secret = secret.encode()
        self._issuer = issuer
        self._audience = audience
        self._lifetime = timedelta(minutes=minutes)
        self._sign_in_lifetime = timedelta(hours=sign_in_hours)
        self._clock = clock
        # Signed by this node, by the digest of the token: what never changes about a token is checked once.
        self._genuine: dict[bytes, dict[str, Any]] = {}

    @property
    def lifetime_s(self) -> int:
        """How long a token lasts, in seconds."""
        return int(self._lifetime.total_seconds())

    @property
    def sign_in_lifetime(self) -> timedelta:
        """How long a sign-in can be kept alive."""
        return self._sign_in_lifetime

    def issue(self, user_id: int, token_version: int, sign_in_id: str = "", *, for_pages: bool = False) -> str:
        """Return a signed token for one user, valid from now. for_pages: longer, and of no use as a bearer token."""
        now = self._clock()
        lifetime = self._sign_in_lifetime if for_pages else self._lifetime
        claims: dict[str, Any] = {
            "sub": str(user_id),
            "iss": self._issuer,
            "aud": self._audience,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": secrets.token_urlsafe(16),
            "ver": token_version,
        }
        if sign_in_id:
            claims["sid"] = sign_in_id
        if for_pages:
            claims["use"] = _PAGES
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> Claims:
        """Return the claims of a token this node issued and that is still valid.

        Raises:
            InvalidToken: another algorithm or header, a wrong signature, issuer or audience, a missing claim, a time
                out of range, or an oversized token.
        """
        if len(token) > MAXIMUM_TOKEN_CHARACTERS:
            raise InvalidToken("token too long")
        try:
            digest = hashlib.sha256(token.encode()).digest()
            claims = self._genuine.get(digest)
            if claims is None:
                claims = self._verified(token)
                if len(self._genuine) >= _MOST_REMEMBERED:
                    self._genuine.clear()
                self._genuine[digest] = claims
            return self._checked(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError) as error:
            raise InvalidToken(type(error).__name__) from error

    def _verified(self, token: str) -> dict[str, Any]:
        # This node writes alg and typ only: a kid, jku or crit is somebody else's header.
        if not set(jwt.get_unverified_header(token)) <= {"alg", "typ"}:
            raise InvalidToken("unexpected token header")
        # Times are checked by `_checked`, each time and against this node's clock, which tests can move.
        claims: dict[str, Any] = jwt.decode(
            token,
            self._secret,
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            audience=self._audience,
            options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        return claims

    def _checked(self, claims: dict[str, Any]) -> Claims:
        now = self._clock()
        expires_at = datetime.fromtimestamp(claims["exp"], tz=UTC)
        issued_at = datetime.fromtimestamp(claims["iat"], tz=UTC)
        not_before = datetime.fromtimestamp(claims.get("nbf", claims["iat"]), tz=UTC)
        if now >= expires_at:
            raise InvalidToken("expired")
        if max(issued_at, not_before) > now + _LEEWAY:
            raise InvalidToken("not valid yet")
        # A clock set forward and back again must not leave a token that lasts for years.
        for_pages = claims.get("use") == _PAGES
        if expires_at - issued_at > (self._sign_in_lifetime if for_pages else self._lifetime) + _LEEWAY:
            raise InvalidToken("longer than this node issues")
        return Claims(
            user_id=int(claims["sub"]),
            token_version=int(claims["ver"]),
            token_id=str(claims["jti"]),
            expires_at=expires_at,
            sign_in_id=str(claims.get("sid", "")),
            for_pages=for_pages,
        )

    def new_refresh_token(self, sign_in_id: str) -> str:
        """Return a fresh refresh token of a sign-in; only its hash is ever kept."""
        return f"{sign_in_id}.{secrets.token_urlsafe(32)}"

    def csrf(self, binding: str) -> str:
        """Return the CSRF value of one sign-in (`binding` is the token's id) or of one visit to the sign-in page."""
        return hmac.new(self._secret, b"csrf\0" + binding.encode(), hashlib.sha256).hexdigest()

    def csrf_matches(self, binding: str, offered: str) -> bool:
        """Compare an offered CSRF value in constant time."""
        return hmac.compare_digest(self.csrf(binding).encode(), offered.encode("utf-8", "replace"))


def refresh_sha256(token: str) -> str:
    """What is kept of a refresh token. It is 256 random bits, so a plain hash tells nothing of it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
