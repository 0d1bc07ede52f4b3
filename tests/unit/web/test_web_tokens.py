from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from web.tokens import InvalidToken, TokenIssuer

SECRET = "s" * 40
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def issuer(now: datetime = NOW, **changes: Any) -> TokenIssuer:
    values: dict[str, Any] = {"secret": SECRET, "issuer": "node", "audience": "web", "minutes": 60}
    return TokenIssuer(**{**values, **changes}, clock=lambda: now)


def claims(**changes: Any) -> dict[str, Any]:
    stamp = int(NOW.timestamp())
    good = {"sub": "7", "iss": "node", "aud": "web", "iat": stamp, "exp": stamp + 3600, "jti": "x", "ver": 1}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


def test_a_token_says_whom_it_signs_in() -> None:
    read = issuer().read(issuer().issue(7, 3))
    assert (read.user_id, read.token_version) == (7, 3)
    assert read.expires_at == NOW + timedelta(hours=1)


def unsecured() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}."


def tampered() -> str:
    head, _, signature = signed().split(".")
    other = signed(sub="1").split(".")[1]
    return ".".join((head, other, signature))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(unsecured(), id="alg none"),
        pytest.param(jwt.encode(claims(), SECRET + "!", algorithm="HS256"), id="another secret"),
        pytest.param(jwt.encode(claims(), SECRET * 2, algorithm="HS512"), id="another algorithm"),
        pytest.param(tampered(), id="tampered"),
        pytest.param(signed(aud="other"), id="wrong audience"),
        pytest.param(signed(aud=None), id="no audience"),
        pytest.param(signed(iss="other"), id="wrong issuer"),
        pytest.param(signed(exp=int(NOW.timestamp())), id="expired"),
        pytest.param(signed(exp=None), id="eternal"),
        pytest.param(signed(exp=int(NOW.timestamp()) + 10**7), id="longer than issued here"),
        pytest.param(signed(exp="soon"), id="exp is no number"),
        pytest.param(signed(exp=10**30), id="exp overflows"),
        pytest.param(signed(nbf=int(NOW.timestamp()) + 600), id="not yet valid"),
        pytest.param(signed(iat=int(NOW.timestamp()) + 600), id="issued in the future"),
        pytest.param(signed(sub="admin"), id="sub is no number"),
        pytest.param(signed(jti=None), id="no jti"),
        pytest.param(signed(ver=None), id="no version"),
        pytest.param(jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "../../dev/null"}), id="kid"),
        pytest.param(jwt.encode(claims(), SECRET, algorithm="HS256", headers={"crit": ["x"], "x": 1}), id="crit"),
        pytest.param("x" * 1_000_000, id="a megabyte"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="three letters"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        issuer().read(token)


def test_a_csrf_value_belongs_to_one_sign_in() -> None:
    tokens = issuer()
    assert tokens.csrf_matches("a", tokens.csrf("a"))
    assert not tokens.csrf_matches("b", tokens.csrf("a"))
    assert not tokens.csrf_matches("a", "")
    assert not issuer(secret="t" * 40).csrf_matches("a", tokens.csrf("a"))
