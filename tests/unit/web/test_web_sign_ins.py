from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import Role
from web.passwords import PasswordHasher

PASSWORD = "correct horse battery"


def login(client: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/api/auth/login", json={"username": "doctor", "password": PASSWORD}).json()
    return answer


def refresh(client: TestClient, token: str) -> Any:
    return client.post("/api/auth/refresh", json={"refresh_token": token})


def me(client: TestClient, tokens: dict[str, Any]) -> int:
    return client.get("/api/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).status_code


def test_a_refresh_token_is_exchanged_once(node: Any, client: TestClient) -> None:
    node.user()
    first = login(client)
    node.clock.forward(minutes=16)
    assert me(client, first) == 401
    second = refresh(client, first["refresh_token"]).json()
    assert me(client, second) == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert second["expires_in"] == 15 * 60


def test_a_refresh_token_used_twice_ends_its_sign_in_and_no_other(node: Any, client: TestClient) -> None:
    node.user()
    stolen, other = login(client), login(client)
    owner = refresh(client, stolen["refresh_token"]).json()
    assert me(client, owner) == 200
    thief = refresh(client, stolen["refresh_token"])
    assert (thief.status_code, thief.json()["type"].rpartition(":")[2]) == (401, "refresh-refused")
    assert me(client, owner) == 401
    assert refresh(client, owner["refresh_token"]).status_code == 401
    assert me(client, other) == 200
    assert [event["reason"] for event in node.events("audit.refresh")] == ["refresh token used twice"]


@pytest.mark.parametrize("token", ["", "x", "x.y", "a" * 200, "é.é", "\0"])
def test_what_is_no_refresh_token_is_refused(node: Any, client: TestClient, token: str) -> None:
    assert refresh(client, token).json()["type"].endswith(":refresh-refused")


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(node: Any, client: TestClient) -> None:
    node.user()
    tokens = login(client)
    assert refresh(client, tokens["access_token"]).status_code == 401
    swapped = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    assert client.get("/api/auth/me", headers=swapped).status_code == 401


def test_a_sign_in_ends_after_its_hours_however_often_it_was_renewed(node: Any, client: TestClient) -> None:
    node.user()
    tokens = login(client)
    for _ in range(11):
        node.clock.forward(hours=1)
        tokens = refresh(client, tokens["refresh_token"]).json()
    node.clock.forward(hours=1, seconds=1)
    assert refresh(client, tokens["refresh_token"]).status_code == 401


def test_signing_out_here_leaves_other_devices_and_everywhere_does_not(node: Any, client: TestClient) -> None:
    node.user()
    here, phone, tablet = login(client), login(client), login(client)
    bearer = {"Authorization": f"Bearer {here['access_token']}"}
    assert client.post("/api/auth/logout?everywhere=false", headers=bearer).status_code == 204
    assert [me(client, tokens) for tokens in (here, phone, tablet)] == [401, 200, 200]
    assert refresh(client, here["refresh_token"]).status_code == 401
    bearer = {"Authorization": f"Bearer {phone['access_token']}"}
    assert client.post("/api/auth/logout", headers=bearer).status_code == 204
    assert [me(client, tokens) for tokens in (phone, tablet)] == [401, 401]
    assert refresh(client, tablet["refresh_token"]).status_code == 401


@pytest.mark.parametrize("change", ["password", "disabled", "role"])
def test_a_changed_account_renews_nothing(node: Any, client: TestClient, change: str) -> None:
    user = node.user()
    tokens = login(client)
    admin = node.bearer(client, Role.ADMIN)
    if change == "password":
        node.users.set_password(user.id, PasswordHasher(4).hash("another long one"))
    elif change == "disabled":
        client.post(f"/api/users/{user.id}/disable", headers=admin)
        client.post(f"/api/users/{user.id}/approve", json={"role": "doctor"}, headers=admin)
    else:
        client.post(f"/api/users/{user.id}/approve", json={"role": "technician"}, headers=admin)
    assert me(client, tokens) == 401
    assert refresh(client, tokens["refresh_token"]).status_code == 401


def test_a_pages_cookie_is_no_bearer_token(node: Any) -> None:
    with node.client() as client:
        user = node.user()
        token = client.app.state.context.tokens.issue(user.id, user.token_version, for_pages=True)
        assert client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        client.cookies.set("btn_session", token)
        assert client.get("/api/auth/me").status_code == 200


def test_what_another_process_changed_counts_within_a_second(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("web.account_gate.time.monotonic", lambda: now[0])
    with node.client(account_age_s=1.0) as client:
        bearer = node.bearer(client)
        assert client.get("/api/auth/me", headers=bearer).status_code == 200
        node.users.revoke_tokens(node.user().id)  # a repository of its own, as in another process
        assert client.get("/api/auth/me", headers=bearer).status_code == 200
        now[0] += 1.01
        assert client.get("/api/auth/me", headers=bearer).status_code == 401
        bearer = node.bearer(client)
        assert client.post("/api/auth/logout", headers=bearer).status_code == 204
        assert client.get("/api/auth/me", headers=bearer).status_code == 401
