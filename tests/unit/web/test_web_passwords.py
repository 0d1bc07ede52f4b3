from __future__ import annotations

import statistics
import time

import pytest

from web.passwords import PasswordHasher, PasswordRefused, check_new_password


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "at least 10"),
        ("", "at least 10"),
        ("a" * 73, "73 bytes"),
        ("é" * 37, "74 bytes"),
        ("nul\0in the middle", "NUL"),
        ("lone surrogate \ud800", "Unicode"),
    ],
)
def test_unusable_passwords_are_refused_with_their_reason(password: str, reason: str) -> None:
    with pytest.raises(PasswordRefused, match=reason) as refused:
        check_new_password(password)
    assert not password or password not in str(refused.value)


def test_the_72nd_byte_counts() -> None:
    hasher = PasswordHasher(4)
    hashed = hasher.hash("a" * 72)
    assert hasher.verify("a" * 72, hashed)
    assert not hasher.verify("a" * 71 + "b", hashed)


def test_both_ways_to_type_an_accent_are_one_password() -> None:
    hasher = PasswordHasher(4)
    assert hasher.verify("re\u0301sonance magne\u0301tique", hasher.hash("r\u00e9sonance magn\u00e9tique"))


def test_nobody_has_the_password_of_an_account_that_does_not_exist() -> None:
    assert not PasswordHasher(4).verify("no account has this password", None)


def test_an_unknown_account_costs_the_same_time() -> None:
    hasher = PasswordHasher(9)
    hashed = hasher.hash("correct horse battery")
    known, unknown = [], []
    for _ in range(9):
        for times, stored in ((known, hashed), (unknown, None)):
            started = time.thread_time()
            hasher.verify("wrong horse battery", stored)
            times.append(time.thread_time() - started)
    assert statistics.median(unknown) == pytest.approx(statistics.median(known), rel=0.1)


def test_the_default_cost_is_twelve() -> None:
    assert PasswordHasher().hash("correct horse battery").startswith("$2b$12$")
