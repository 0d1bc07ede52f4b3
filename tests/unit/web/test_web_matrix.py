"""Every route of the API times every role; and nothing is reachable that this table does not name."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import AccountStatus, Role

ANYBODY, SIGNED_IN, CLINICAL, ADMIN = "anybody", "signed in", "doctor or admin", "admin"

API: dict[tuple[str, str], tuple[str, int]] = {
    # (method, path): who may, and the status they get for the scan and body used here
    ("POST", "/api/auth/register"): (ANYBODY, 422),
    ("POST", "/api/auth/login"): (ANYBODY, 422),
    ("POST", "/api/auth/refresh"): (ANYBODY, 422),
    ("POST", "/api/auth/logout"): (SIGNED_IN, 204),
    ("GET", "/api/auth/me"): (SIGNED_IN, 200),
    ("PUT", "/api/auth/me"): (SIGNED_IN, 200),
    ("GET", "/api/scans"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}"): (SIGNED_IN, 200),
    ("PUT", "/api/scans/{scan_id}"): (SIGNED_IN, 200),
    ("DELETE", "/api/scans/{scan_id}"): (CLINICAL, 409),
    ("POST", "/api/scans/{scan_id}/restore"): (CLINICAL, 200),
    ("GET", "/api/scans/{scan_id}/events"): (SIGNED_IN, 200),
    ("GET", "/api/events"): (SIGNED_IN, 200),
    ("GET", "/api/compare"): (SIGNED_IN, 422),
    ("GET", "/api/audit"): (ADMIN, 200),
    ("GET", "/api/audit/verify"): (ADMIN, 200),
    ("GET", "/api/audit/export"): (ADMIN, 200),
    ("POST", "/api/scans/{scan_id}/process-now"): (SIGNED_IN, 409),
    ("POST", "/api/scans/{scan_id}/retry"): (SIGNED_IN, 409),
    ("PUT", "/api/scans/{scan_id}/roles"): (SIGNED_IN, 422),
    ("GET", "/api/scans/{scan_id}/images"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}/slice/{index}"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}/segmentation/{index}"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}/attention/{stage}"): (SIGNED_IN, 404),
    ("GET", "/api/scans/{scan_id}/volume/{name}"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}/earlier/{earlier_id}/slice/{index}"): (SIGNED_IN, 404),
    ("GET", "/api/scans/{scan_id}/download/{key}"): (SIGNED_IN, 200),
    ("POST", "/api/process-mri"): (SIGNED_IN, 415),
    ("POST", "/api/scans/{scan_id}/fetch"): (SIGNED_IN, 409),
    ("POST", "/api/scans/{scan_id}/deliveries/{delivery_id}/retry"): (SIGNED_IN, 409),
    ("GET", "/api/deliveries"): (SIGNED_IN, 200),
    ("POST", "/api/scans/{scan_id}/holds"): (CLINICAL, 422),
    ("POST", "/api/scans/{scan_id}/holds/{hold_id}/release"): (ADMIN, 404),
    ("GET", "/api/scans/{scan_id}/reviews"): (SIGNED_IN, 200),
    ("GET", "/api/scans/{scan_id}/exports/{kind}"): (CLINICAL, 404),
    ("POST", "/api/scans/{scan_id}/reviews"): (CLINICAL, 422),
    ("GET", "/api/refusals"): (SIGNED_IN, 200),
    ("POST", "/dicom-web/studies"): (SIGNED_IN, 415),
    ("POST", "/dicom-web/studies/{study_uid}"): (SIGNED_IN, 415),
    ("GET", "/api/models"): (CLINICAL, 200),
    ("GET", "/api/models/agreement"): (CLINICAL, 200),
    ("GET", "/api/users"): (ADMIN, 200),
    ("POST", "/api/users/{user_id}/approve"): (ADMIN, 200),
    ("POST", "/api/users/{user_id}/disable"): (ADMIN, 200),
    ("GET", "/health/live"): (ANYBODY, 200),
    ("GET", "/health/ready"): (ANYBODY, 200),
    ("GET", "/metrics"): (ANYBODY, 200),
}

OWN_ONLY = ("PUT", "/api/scans/{scan_id}")

PAGES: dict[tuple[str, str], str] = {
    ("GET", "/sign-in"): ANYBODY,
    ("POST", "/sign-in"): ANYBODY,
    ("GET", "/sign-in/oidc"): ANYBODY,
    ("GET", "/sign-in/oidc/callback"): ANYBODY,
    ("GET", "/register"): ANYBODY,
    ("POST", "/register"): ANYBODY,
    ("POST", "/language"): ANYBODY,
    ("POST", "/sign-out"): SIGNED_IN,
    ("GET", "/"): SIGNED_IN,
    ("GET", "/scans/rows"): SIGNED_IN,
    ("GET", "/scans/{scan_id}"): SIGNED_IN,
    ("GET", "/scans/{scan_id}/state"): SIGNED_IN,
    ("GET", "/scans/{scan_id}/images"): SIGNED_IN,
    ("GET", "/scans/{scan_id}/follow-up"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/reviews"): CLINICAL,
    ("POST", "/scans/{scan_id}/process-now"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/retry"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/roles"): SIGNED_IN,
    ("GET", "/upload"): SIGNED_IN,
    ("POST", "/upload"): SIGNED_IN,
    ("GET", "/deliveries"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/deliveries/{delivery_id}/retry"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/fetch"): SIGNED_IN,
    ("POST", "/scans/{scan_id}/holds"): CLINICAL,
    ("POST", "/scans/{scan_id}/holds/{hold_id}/release"): ADMIN,
    ("GET", "/system"): SIGNED_IN,
    ("GET", "/models"): CLINICAL,
    ("GET", "/users"): ADMIN,
    ("POST", "/users"): ADMIN,
    ("POST", "/users/{user_id}/role"): ADMIN,
    ("POST", "/users/{user_id}/sign-out"): ADMIN,
    ("GET", "/peers"): ADMIN,
    ("POST", "/peers/test"): ADMIN,
    ("GET", "/audit"): ADMIN,
    ("POST", "/users/{user_id}/approve"): ADMIN,
    ("POST", "/users/{user_id}/disable"): ADMIN,
}


def routes(client: TestClient) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()

    def walk(entries: Any) -> None:
        for route in entries:
            if getattr(route, "methods", None) and hasattr(route, "path"):
                found.update((method, route.path) for method in route.methods - {"HEAD"})
            elif hasattr(route, "original_router"):
                walk(route.original_router.routes)
            elif hasattr(route, "routes") and route.path != "/static":
                walk(route.routes)

    walk(client.app.routes)  # type: ignore[attr-defined]
    return found


def test_the_tables_name_every_route(shared_client: TestClient) -> None:
    assert routes(shared_client) - {("GET", "/api/openapi.json")} == set(API) | set(PAGES)


def address(node: Any, path: str) -> str:
    scan = node.scans.by_study("1.2.3") or node.finished()
    other = node.user(Role.TECHNICIAN, "other", AccountStatus.PENDING)
    # An event stream would stay open.
    path += "?seconds=0" if path.endswith("/events") else ""
    numbers = {
        "earlier_id": scan.id,
        "name": "LABELS",
        "kind": "csv",
        "index": 0,
        "user_id": other.id,
        "delivery_id": 1,
        "hold_id": 99,
    }
    return path.format(scan_id=scan.id, key="report.json", stage="detect", study_uid="1.2", **numbers)


@pytest.mark.parametrize(("method", "path"), API)
def test_the_api_lets_in_whom_it_should(shared_node: Any, shared_client: TestClient, method: str, path: str) -> None:
    who, expected = API[method, path]
    url = address(shared_node, path)
    body: dict[str, Any] = {} if method == "GET" else {"json": {}}
    answers = {"nobody": shared_client.request(method, url, **body).status_code}
    for role in (Role.TECHNICIAN, Role.DOCTOR, Role.ADMIN):
        answers[role.value] = shared_client.request(
            method, url, headers=shared_node.bearer(shared_client, role), **body
        ).status_code
    wanted = {
        "nobody": expected if who == ANYBODY else 401,
        # What a technician may change is the own upload: the scan used here came by C-STORE.
        "technician": 403 if who in (CLINICAL, ADMIN) or (method, path) == OWN_ONLY else expected,
        "doctor": 403 if who == ADMIN else expected,
        "admin": expected,
    }
    assert answers == wanted


@pytest.mark.parametrize(("method", "path"), API)
def test_an_absent_scan_is_not_found_and_a_stranger_is_not_told(
    shared_node: Any, shared_client: TestClient, method: str, path: str
) -> None:
    if "{scan_id}" not in path:
        return
    values = {
        "index": 0,
        "name": "LABELS",
        "kind": "csv",
        "earlier_id": "0",
        "key": "report.json",
        "stage": "detect",
        "delivery_id": 1,
        "hold_id": 1,
    }
    url = path.format(scan_id="0" * 36, **values)
    needed = {("PUT", "roles"): {"roles": {"1.2": "T1"}}, ("POST", "reviews"): {"verdict": "accepted"}}
    given = needed.get((method, path.rpartition("/")[2]), {} if method == "PUT" else None)
    body: dict[str, Any] = {} if given is None else {"json": given}
    assert shared_client.request(method, url, **body).status_code == 401
    role = Role.ADMIN if API[method, path][0] == ADMIN else Role.DOCTOR
    answer = shared_client.request(method, url, headers=shared_node.bearer(shared_client, role), **body)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (404, "scan-not-found")


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_pages_send_strangers_to_the_sign_in(
    shared_node: Any, shared_client: TestClient, method: str, path: str
) -> None:
    answer = shared_client.request(method, address(shared_node, path), follow_redirects=False)
    if PAGES[method, path] != ANYBODY:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")
    else:
        off = path.startswith("/sign-in/oidc")  # no identity provider is configured here
        assert answer.status_code == (404 if off else 200 if method == "GET" else 422 if path == "/language" else 403)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_pages_for_administrators_stay_shut(shared_node: Any, browser: Any, method: str, path: str) -> None:
    client = browser(shared_node, Role.DOCTOR)
    if PAGES[method, path] == ADMIN:
        assert client.request(method, address(shared_node, path)).status_code == 403


def test_the_models_page_is_for_doctors_and_administrators(shared_node: Any, browser: Any) -> None:
    answers = [browser(shared_node, role).get("/models").status_code for role in Role]
    assert dict(zip(Role, answers, strict=True)) == {Role.ADMIN: 200, Role.DOCTOR: 200, Role.TECHNICIAN: 403}


# The language is kept in the browser alone, a stranger's too.
@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in PAGES if method == "POST" and path != "/language"]
)
@pytest.mark.parametrize("csrf", ["", "wrong", "é"])
def test_no_form_works_without_its_csrf_value(
    shared_node: Any, browser: Any, method: str, path: str, csrf: str
) -> None:
    client = browser(shared_node, Role.ADMIN)
    url = address(shared_node, path)
    if path == "/upload":
        answer = client.post(url, data={"csrf": csrf}, files={"files": ("t1.nii", b"x")})
    else:
        answer = client.post(url, data={"csrf": csrf})
    assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path"), [entry for entry in API if entry[0] != "GET"])
def test_a_cookie_alone_changes_nothing_through_the_api(shared_node: Any, browser: Any, method: str, path: str) -> None:
    if API[method, path][0] == ANYBODY:
        return
    client = browser(shared_node, Role.ADMIN)
    answer = client.request(method, address(shared_node, path), json={})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "csrf")


def test_a_cookie_with_its_header_may_change(shared_node: Any, browser: Any) -> None:
    client = browser(shared_node, Role.DOCTOR)
    context = client.app.state.context
    csrf = context.tokens.csrf(context.tokens.read(client.cookies["btn_session"]).token_id)
    answer = client.put("/api/auth/me", json={"title": "Dr."}, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 200
