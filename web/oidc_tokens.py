"""ID tokens: verified strictly, and what they say of a person."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

#: Signatures by a key the provider alone has. Never none, and never HS256: its key would be a public one.
ALGORITHMS = ("RS256", "ES256")
_REQUIRED = ("iss", "sub", "aud", "exp", "iat", "nonce")
_LEEWAY = timedelta(seconds=60)
_OLDEST = timedelta(minutes=15)
_MOST_SUBJECT_CHARACTERS = 255
_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s.]+")


class InvalidIdToken(Exception):
    """A token that signs nobody in. The reason is a fixed text for the log; the visitor's answer is always the same."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """What an ID token says. email: '' where the provider does not vouch for one. groups: values of the role claim."""

    issuer: str
    subject: str
    email: str
    username: str
    full_name: str
    groups: frozenset[str]


def verified(
    token: str,
    *,
    key: Callable[[str | None, str], jwt.PyJWK | None],
    issuer: str,
    client_id: str,
    nonce: str,
    now: datetime,
) -> dict[str, Any]:
    """Return the claims of a token this provider issued for this client and this attempt (OpenID Connect Core 3.1.3.7).

    key: from the key id (None without one) and the algorithm to the provider's key.

    Raises:
        InvalidIdToken: another algorithm, an unknown key, a wrong signature, issuer, audience or nonce, a missing
            claim, or a time out of range.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise InvalidIdToken("algorithm")
        found = key(header.get("kid"), algorithm)
        if found is None:
            raise InvalidIdToken("unknown key")
        claims: dict[str, Any] = jwt.decode(
            token,
            found,
            algorithms=[algorithm],
            issuer=issuer,
            audience=client_id,
            # Times are checked below, against this node's clock.
            options={
                "require": list(_REQUIRED),
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "enforce_minimum_key_length": True,
            },
        )
        _check_party(claims, client_id)
        _check_times(claims, now)
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise InvalidIdToken("nonce")
        subject = claims["sub"]
        if not 0 < len(subject) <= _MOST_SUBJECT_CHARACTERS or not (subject.isascii() and subject.isprintable()):
            raise InvalidIdToken("sub")
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError) as error:
        raise InvalidIdToken(type(error).__name__) from None
    return claims


def _check_party(claims: dict[str, Any], client_id: str) -> None:
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise InvalidIdToken("several audiences without azp")
    if party is not None and party != client_id:
        raise InvalidIdToken("azp")


def _check_times(claims: dict[str, Any], now: datetime) -> None:
    expires_at = datetime.fromtimestamp(claims["exp"], tz=UTC)
    issued_at = datetime.fromtimestamp(claims["iat"], tz=UTC)
    not_before = datetime.fromtimestamp(claims.get("nbf", claims["iat"]), tz=UTC)
    if now >= expires_at + _LEEWAY:
        raise InvalidIdToken("expired")
    if max(issued_at, not_before) > now + _LEEWAY:
        raise InvalidIdToken("not valid yet")
    if now - issued_at > _OLDEST:
        raise InvalidIdToken("issued long ago")


def person(claims: dict[str, Any], role_claim: str) -> Person:
    """Return what verified claims say of a person."""
    email = _text(claims.get("email"))
    # Accounts are found by address: letters that only look like others' are no address here.
    vouched = claims.get("email_verified") is True and email.isascii() and len(email) <= 254
    return Person(
        issuer=claims["iss"],
        subject=claims["sub"],
        email=email if vouched and _ADDRESS.fullmatch(email) else "",
        username=_text(claims.get("preferred_username")),
        full_name=_text(claims.get("name")),
        groups=_groups(claims, role_claim),
    )


def _text(value: object) -> str:
    line = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(letter for letter in line if letter.isprintable())[:400]


def _groups(claims: dict[str, Any], role_claim: str) -> frozenset[str]:
    value: object = claims.get(role_claim)
    if value is None:
        value = claims
        for name in role_claim.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return frozenset(one for one in values if isinstance(one, str))
