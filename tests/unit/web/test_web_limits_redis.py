"""Attempts counted in a real Redis: shared by web processes, and what happens when it goes away."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import Role
from tests.redis_server import redis_server
from web.login_limits import PER_ACCOUNT_AND_ADDRESS, LoginLimits
from web.problems import Problem
from web.settings import InvalidWebSettings


@pytest.fixture(scope="module")
def redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with redis_server() as running:
        yield running


def attempts(limits: LoginLimits, account: str) -> int:
    """How many more attempts are let through."""
    for number in range(PER_ACCOUNT_AND_ADDRESS.amount + 1):
        refusal = refusal_of(limits, account)
        if refusal is not None:
            assert (refusal.status, refusal.slug) == (429, "too-many-attempts")
            assert 0 < int(refusal.headers["Retry-After"]) <= 300
            return number
    raise AssertionError("never refused")


def refusal_of(limits: LoginLimits, account: str) -> Problem | None:
    try:
        limits.check_login("192.0.2.1", account)
    except Problem as problem:
        return problem
    return None


def test_two_processes_count_together_and_a_success_clears(redis: tuple[str, Any]) -> None:
    one, other = LoginLimits(redis[0]), LoginLimits(redis[0])
    for _ in range(4):
        one.check_login("192.0.2.1", "Doctor")
    assert attempts(other, " doctor") == PER_ACCOUNT_AND_ADDRESS.amount - 4
    assert attempts(one, "DOCTOR") == 0
    other.login_succeeded("192.0.2.1", "doctor")
    assert attempts(one, "doctor") == PER_ACCOUNT_AND_ADDRESS.amount


def test_brute_force_through_two_applications_meets_one_limit(node: Any, redis: tuple[str, Any]) -> None:
    node.user(Role.DOCTOR)
    node.settings = replace(node.settings, limits_url=redis[0])
    clients = [node.client(), node.client()]
    wrong = {"username": "doctor", "password": "a wrong pass phrase"}
    answers = [clients[n % 2].post("/api/auth/login", json=wrong).status_code for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    for client in clients:
        client.close()


def test_a_sign_out_in_one_process_ends_the_sign_in_in_the_other(node: Any, redis: tuple[str, Any]) -> None:
    node.settings = replace(node.settings, limits_url=redis[0])
    with node.client() as one, node.client() as other:
        headers = node.bearer(one)
        assert one.get("/api/scans", headers=headers).status_code == 200
        assert other.get("/api/scans", headers=headers).status_code == 200
        assert one.post("/api/auth/logout", headers=headers).status_code in (200, 204)
        assert other.get("/api/scans", headers=headers).status_code == 401


def test_without_its_redis_a_process_counts_for_itself(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    node.user(Role.DOCTOR)
    with redis_server() as (url, process):
        client: TestClient = node.client(limits_url=url)
        right = {"username": "doctor", "password": "correct horse battery"}
        assert client.post("/api/auth/login", json=right).status_code == 200
        process.terminate()
        process.wait(10)
        caplog.set_level(logging.WARNING, "web.login_limits")
        assert client.post("/api/auth/login", json=right).status_code == 200
        wrong = right | {"password": "a wrong pass phrase"}
        answers = [client.post("/api/auth/login", json=wrong).status_code for _ in range(12)]
        assert answers == [401] * 10 + [429] * 2
        client.close()
    assert "web.limits_url cannot be reached (ConnectionError)" in caplog.text


@pytest.mark.parametrize("url", ["carrier-pigeon://x", "nonsense"])
def test_a_place_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidWebSettings, match=r"web\.limits_url"):
        LoginLimits(url)
