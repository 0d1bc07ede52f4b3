from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import AccountStatus, Role

PASSWORD = "correct horse battery"
FORM = {"username": "m.curie", "email": "M.Curie@hospital.example", "password": PASSWORD, "fullName": "Marie Curie"}


def login(client: TestClient, username: str = "doctor", password: str = PASSWORD) -> Any:
    return client.post("/api/auth/login", json={"username": username, "password": password})


def test_an_account_waits_for_approval_and_then_signs_in(node: Any, client: TestClient) -> None:
    made = client.post("/api/auth/register", json=FORM)
    assert made.status_code == 201
    assert made.json()["status"] == "pending"
    assert made.json()["role"] == "technician"
    assert "password" not in made.text.lower()
    refused = login(client, "m.curie")
    assert refused.status_code == 403
    assert refused.json()["type"].endswith(":account-pending")
    # Who does not know the password is not told that the account exists.
    assert login(client, "m.curie", "wrong horse battery").json() == login(client, "nobody").json()
    admin = node.bearer(client, Role.ADMIN)
    approved = client.post(f"/api/users/{made.json()['id']}/approve", json={"role": "doctor"}, headers=admin)
    assert approved.json()["status"] == "active"
    answer = login(client, "m.curie@HOSPITAL.example").json()
    assert answer["token_type"] == "bearer"
    assert answer["user"]["fullName"] == "Marie Curie"
    me = client.get("/api/auth/me", headers={"Authorization": f"Bearer {answer['access_token']}"})
    assert me.json()["role"] == "doctor"


def test_registration_follows_the_policy(node: Any) -> None:
    with node.client(registration="closed") as client:
        assert client.post("/api/auth/register", json=FORM).status_code == 403
        assert client.get("/register").status_code == 403
    with node.client(registration="open") as client:
        assert client.post("/api/auth/register", json=FORM).json()["status"] == "active"


def test_a_taken_name_or_address_is_told(client: TestClient) -> None:
    client.post("/api/auth/register", json=FORM)
    again = client.post("/api/auth/register", json={**FORM, "username": "M.CURIE", "email": "x@y.example"})
    assert (again.status_code, again.json()["detail"]) == (409, "This username is already in use.")
    again = client.post("/api/auth/register", json={**FORM, "username": "other", "email": "m.curie@hospital.example"})
    assert (again.status_code, again.json()["detail"]) == (409, "This email is already in use.")


@pytest.mark.parametrize(
    "change",
    [
        {"password": "a" * 73},
        {"password": "short"},
        {"password": "é" * 37},
        {"password": "nul \0 within it"},
        {"password": "x" * 100_000},
        {"email": "no address"},
        {"username": "a b"},
        {"username": "x@y.example"},
        {"fullName": "two\nlines"},
        {"role": "admin"},
        {"status": "active"},
    ],
)
def test_a_registration_that_cannot_be_is_refused_in_clear_text(client: TestClient, change: dict[str, str]) -> None:
    answer = client.post("/api/auth/register", json={**FORM, **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert next(iter(change.values())) not in answer.text


def test_72_bytes_are_the_longest_password(node: Any, client: TestClient) -> None:
    assert client.post("/api/auth/register", json={**FORM, "password": "a" * 72}).status_code == 201
    answer = login(client, "m.curie", "a" * 73)
    assert answer.status_code == 422
    assert "72" in answer.json()["detail"]


def test_login_takes_a_form_too(node: Any, client: TestClient) -> None:
    node.user()
    answer = client.post("/api/auth/login", data={"username": "doctor", "password": PASSWORD, "grant_type": "password"})
    assert answer.json()["access_token"]
    assert client.post("/api/auth/login", content=b"<xml/>", headers={"content-type": "text/xml"}).status_code == 415
    json_header = {"content-type": "application/json"}
    assert client.post("/api/auth/login", content=b"{", headers=json_header).status_code == 400
    assert client.post("/api/auth/login", content=b"[" * 50_000, headers=json_header).status_code in (400, 422)
    assert client.post("/api/auth/login", json={"username": "doctor"}).status_code == 422


def test_a_wrong_password_and_an_unknown_name_get_one_answer(node: Any, client: TestClient) -> None:
    node.user()
    wrong, unknown = login(client, password="wrong horse battery"), login(client, "nobody", "wrong horse battery")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    outcomes = [(event["username"], event["outcome"]) for event in node.events("audit.sign-in")]
    assert outcomes == [("doctor", "failure"), ("nobody", "failure")]


def test_attempts_are_limited_and_others_still_sign_in(node: Any, client: TestClient) -> None:
    node.user()
    node.user(Role.ADMIN)
    answers = [login(client, password="wrong horse battery").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    refused = login(client)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300
    assert login(client, "admin").status_code == 200


def test_a_success_clears_the_count(node: Any, client: TestClient) -> None:
    node.user()
    for _ in range(3):
        assert [login(client, password="wrong horse battery").status_code for _ in range(9)] == [401] * 9
        assert login(client).status_code == 200


def test_one_address_tries_sixty_times_a_minute(node: Any, client: TestClient) -> None:
    codes = [login(client, f"name{n}", "wrong horse battery").status_code for n in range(61)]
    assert codes == [401] * 60 + [429]


def test_a_new_password_ends_every_sign_in(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    wrong = {"newPassword": "another long one", "currentPassword": "wrong horse battery"}
    assert client.put("/api/auth/me", json=wrong, headers=doctor).status_code == 403
    assert client.put("/api/auth/me", json={"newPassword": "another long one"}, headers=doctor).status_code == 403
    short = {"newPassword": "short", "currentPassword": PASSWORD}
    assert client.put("/api/auth/me", json=short, headers=doctor).status_code == 422
    right = {"newPassword": "another long one", "currentPassword": PASSWORD}
    assert client.put("/api/auth/me", json=right, headers=doctor).status_code == 200
    assert client.get("/api/auth/me", headers=doctor).status_code == 401
    assert login(client, password="another long one").status_code == 200


def test_the_profile_changes_field_by_field(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    changed = client.put("/api/auth/me", json={"department": "Radiology", "title": "Dr."}, headers=doctor).json()
    assert (changed["department"], changed["title"], changed["fullName"]) == ("Radiology", "Dr.", "Doctor")
    assert client.put("/api/auth/me", json={"role": "admin"}, headers=doctor).status_code == 422
    assert client.put("/api/auth/me", json={"email": "new@x.example"}, headers=doctor).status_code == 403
    node.user(Role.ADMIN)
    taken = {"email": "admin@hospital.example", "currentPassword": PASSWORD}
    assert client.put("/api/auth/me", json=taken, headers=doctor).status_code == 409
    free = {"email": "New@x.example", "currentPassword": PASSWORD}
    assert client.put("/api/auth/me", json=free, headers=doctor).json()["email"] == "new@x.example"


def test_a_token_ends_with_time_logout_and_the_account(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    assert client.get("/api/auth/me", headers=doctor).status_code == 200
    assert client.post("/api/auth/logout", headers=doctor).status_code == 204
    assert client.get("/api/auth/me", headers=doctor).status_code == 401
    doctor = node.bearer(client)
    node.clock.forward(minutes=14)
    assert client.get("/api/auth/me", headers=doctor).status_code == 200
    node.clock.forward(minutes=1)
    assert client.get("/api/auth/me", headers=doctor).status_code == 401
    doctor = node.bearer(client)
    admin = node.bearer(client, Role.ADMIN)
    shut_out = client.post(f"/api/users/{node.user().id}/disable", headers=admin)
    assert shut_out.json()["status"] == "disabled"
    assert client.get("/api/auth/me", headers=doctor).status_code == 401
    assert login(client).json()["type"].endswith(":account-disabled")


def test_every_refused_token_gets_one_answer(node: Any, client: TestClient) -> None:
    bodies = {
        client.get("/api/auth/me", headers={"Authorization": value}).text
        for value in ("Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer", "Bearer " + "x" * 10_000, "x")
    }
    assert bodies == {client.get("/api/auth/me").text}


def test_an_administrator_stays_administrator(node: Any, client: TestClient) -> None:
    admin = node.bearer(client, Role.ADMIN)
    own = node.user(Role.ADMIN).id
    assert client.post(f"/api/users/{own}/disable", headers=admin).status_code == 409
    assert client.post(f"/api/users/{own}/approve", json={"role": "doctor"}, headers=admin).status_code == 409
    assert client.post("/api/users/999/approve", json={}, headers=admin).status_code == 404


def test_accounts_are_listed_with_those_who_wait_first(node: Any, client: TestClient) -> None:
    admin = node.bearer(client, Role.ADMIN)
    node.user(Role.DOCTOR)
    node.user(Role.TECHNICIAN, "zed", AccountStatus.PENDING)
    listed = client.get("/api/users", headers=admin).json()["items"]
    assert [user["username"] for user in listed] == ["zed", "admin", "doctor"]
    waiting = client.get("/api/users", params={"status": "pending"}, headers=admin).json()["items"]
    assert [user["username"] for user in waiting] == ["zed"]
    assert "hashed" not in str(listed)


def test_sign_ins_leave_no_name_in_the_log(node: Any, client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    node.user()
    login(client)
    login(client, "doctor", "wrong horse battery")
    assert PASSWORD not in caplog.text
    assert "wrong horse" not in caplog.text
