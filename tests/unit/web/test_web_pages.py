from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from storage.lifecycle import ScanEvent
from storage.requests import RequestRepository
from storage.vocabulary import AccountStatus, RequestKind, Role

EVIL = ['<img src=x onerror="alert(1)">', '"><script>alert(1)</script>', "{{ 7 * 7 }}", "\u202eevil", "x" * 65_000]


class Tags(HTMLParser):
    """Collects elements and every attribute that could run a script or carry a style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.risky: list[str] = []
        self.labels: set[str | None] = set()
        self.fields: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script":
            self.scripts.append(values.get("src"))
        if tag == "label":
            self.labels.add(values.get("for"))
        if tag in ("input", "select") and values.get("type") not in ("hidden", "radio", "checkbox"):
            self.fields.append(values)
        self.risky += [f"{tag} {name}" for name in values if name.startswith("on") or name == "style"]
        self.risky += [f"{tag} {value}" for value in values.values() if (value or "").lower().startswith("javascript:")]


def csrf_of(page: Any) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]


def test_signing_in_and_out_by_the_pages(node: Any, client: TestClient) -> None:
    node.user()
    sent = client.get("/scans/abc?x=1", follow_redirects=False)
    assert sent.headers["location"] == "/sign-in?next=%2Fscans%2Fabc%3Fx%3D1"
    form = {"csrf": csrf_of(client.get("/sign-in")), "username": "doctor", "next": "/upload"}
    wrong = client.post("/sign-in", data={**form, "password": "wrong horse battery"})
    assert wrong.status_code == 401
    assert "The name or the password is wrong." in wrong.text
    right = client.post("/sign-in", data={**form, "password": "correct horse battery"}, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/upload")
    cookie = right.headers["set-cookie"]
    assert all(word in cookie for word in ("btn_session=", "HttpOnly", "SameSite=lax", "Path=/"))
    home = client.get("/")
    assert home.status_code == 200
    token = client.cookies["btn_session"]
    client.post("/sign-out", data={"csrf": csrf_of(home)})
    assert client.get("/", follow_redirects=False).status_code == 303
    client.cookies.set("btn_session", token)
    assert client.get("/", follow_redirects=False).status_code == 303


def test_the_cookie_is_pinned_to_https_where_it_is_used(node: Any) -> None:
    node.user()
    with node.client(cookie_secure=True) as client:
        client.base_url = "https://node.example"  # type: ignore[assignment]
        form = {"csrf": csrf_of(client.get("/sign-in")), "username": "doctor", "password": "correct horse battery"}
        answer = client.post("/sign-in", data=form, follow_redirects=False)
        assert answer.headers["set-cookie"].startswith("__Host-btn_session=")
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\tx", "\\\\e", ""]
)
def test_signing_in_leads_nowhere_else(node: Any, client: TestClient, target: str) -> None:
    node.user()
    form = {"csrf": csrf_of(client.get("/sign-in")), "username": "doctor", "password": "correct horse battery"}
    answer = client.post("/sign-in", data={**form, "next": target}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_a_form_from_another_site_is_refused(node: Any, browser: Any) -> None:
    client = browser(node)
    scan = node.study()
    csrf = csrf_of(client.get("/"))
    url = f"/scans/{scan.id}/process-now"
    assert client.post(url, data={"csrf": csrf}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(url, data={"csrf": csrf}, follow_redirects=False).status_code == 303
    assert [row.kind for row in RequestRepository(node.database).pending()] == [RequestKind.PROCESS_NOW]


@pytest.mark.parametrize("evil", EVIL)
def test_names_are_shown_as_text(node: Any, browser: Any, evil: str) -> None:
    client = browser(node, Role.ADMIN)
    scan = node.finished(name=evil.replace("=", "\uff1d"), patient_id=evil[:64], description=evil)
    node.users.update_profile(node.user(Role.ADMIN).id, full_name=evil[:200], title=evil[:200])
    for path in ("/", f"/scans/{scan.id}", f"/scans/{scan.id}/state?seen=delivering", "/users", f"/?q={evil[:150]}"):
        page = client.get(path)
        assert page.status_code == 200
        tags = Tags(page.text)
        assert set(tags.scripts) <= {"/static/vendor/htmx.min.js", "/static/site.js", "/static/planes.js"}
        assert tags.risky == []
        assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", page.text)


def test_every_page_carries_the_security_headers(node: Any, browser: Any) -> None:
    client = browser(node, Role.ADMIN)
    scan = node.finished()
    for path in (
        "/",
        f"/scans/{scan.id}",
        "/nothing",
        "/api/scans",
        "/api/nothing",
        "/health/live",
        "/static/site.css",
    ):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("public, max-age=3600" if path.startswith("/static/") else "no-store")


def test_a_scan_page_explains_roles_states_and_models(node: Any, browser: Any) -> None:
    client = browser(node)
    scan = node.finished()
    text = client.get(f"/scans/{scan.id}").text
    for words in (
        "TR 2300 ms",
        "a localizer: three orientations",
        "0.93",
        "No series fills this role.",
        "97.3 %",
        "34.2",
        "44.4",
        "Lesion 1",
        "no weights",
        "role-missing",
        "thick slices",
        "resnet50-detection",
        "3f9a1c77d0b2",
        "PACS",
        "Not a medical device",
        "Doe, Jane",
        "2026-11-14",
    ):
        assert words in text, words
    assert node.events("audit.view-scan")[0]["username"] == "doctor"


def test_a_waiting_scan_says_for_what_and_can_be_hurried(node: Any, browser: Any) -> None:
    client = browser(node)
    scan = node.study()
    node.scans.apply_event(scan.id, ScanEvent.ASSEMBLE, "")
    node.scans.set_waiting(scan.id, "T1CE: 40 s of 300 s")
    page = client.get(f"/scans/{scan.id}")
    assert "Waits for T1CE: 40 s of 300 s" in page.text
    assert "Process now" in page.text
    assert "Waits for T1CE" in client.get("/").text


def test_the_state_refreshes_and_a_new_state_reloads_the_page(node: Any, browser: Any) -> None:
    client = browser(node)
    scan = node.study()
    assert "received" in client.get(f"/scans/{scan.id}/state?seen=received").text
    node.scans.apply_event(scan.id, ScanEvent.COMPLETE, "")
    answer = client.get(f"/scans/{scan.id}/state?seen=received")
    assert (answer.status_code, answer.headers["hx-refresh"]) == (204, "true")
    client.cookies.clear()
    signed_out = client.get(f"/scans/{scan.id}/state", headers={"HX-Request": "true"})
    assert (signed_out.status_code, signed_out.headers["hx-redirect"]) == (204, "/sign-in")


def test_roles_are_chosen_and_taken_back_on_the_page(node: Any, browser: Any) -> None:
    client = browser(node)
    scan = node.study()
    node.studies.override_role(scan.id, "1.2.3.2", "T2", "somebody")
    page = client.get(f"/scans/{scan.id}")
    assert "chosen by a person" in page.text
    form = {"csrf": csrf_of(page), "T1CE": "1.2.3.1", "T1": "", "T2": "", "FLAIR": ""}
    assert client.post(f"/scans/{scan.id}/roles", data=form, follow_redirects=False).status_code == 303
    (row,) = RequestRepository(node.database).pending()
    assert row.payload["roles"] == {"1.2.3.1": "T1CE", "1.2.3.2": None}
    twice = {**form, "T2": "1.2.3.1"}
    assert client.post(f"/scans/{scan.id}/roles", data=twice).status_code == 422


def test_an_upload_by_the_page_leads_to_its_scan(node: Any, browser: Any) -> None:
    client = browser(node)
    form = {"csrf": csrf_of(client.get("/upload")), "patientName": "Doe^Jane"}
    data = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes()
    page = client.post("/upload", data=form, files={"files": ("t1.nii", io.BytesIO(data))})
    assert page.status_code == 200
    assert "Doe, Jane" in page.text
    refused = client.post("/upload", data=form, files={"files": ("x.nii", io.BytesIO(data))})
    assert refused.status_code == 422
    assert "name the files by role" in refused.text


def test_an_administrator_approves_on_the_page(node: Any, browser: Any) -> None:
    client = browser(node, Role.ADMIN)
    waiting = node.user(Role.TECHNICIAN, "new", AccountStatus.PENDING)
    page = client.get("/users")
    assert "1 waiting for approval" in page.text
    client.post(f"/users/{waiting.id}/approve", data={"csrf": csrf_of(page), "role": "doctor"})
    approved = node.users.by_id(waiting.id)
    assert (approved.role, approved.status) == (Role.DOCTOR, AccountStatus.ACTIVE)
    assert node.events("audit.approve-user")[0] == {
        "outcome": "success",
        "user_id": node.user(Role.ADMIN).id,
        "username": "admin",
        "address": "testclient",
        "account": "new",
        "role": "doctor",
    }
    client.post(f"/users/{waiting.id}/disable", data={"csrf": csrf_of(page)})
    assert node.users.by_id(waiting.id).status is AccountStatus.DISABLED


def test_registering_on_the_page(node: Any, client: TestClient) -> None:
    form = {"csrf": csrf_of(client.get("/register")), "username": "m.curie", "email": "m@h.example"}
    short = client.post("/register", data={**form, "password": "short"})
    assert short.status_code == 422
    assert "at least 10" in short.text
    assert "m.curie" in short.text
    done = client.post("/register", data={**form, "csrf": csrf_of(short), "password": "correct horse battery"})
    assert "waits for an administrator" in done.text


def test_every_field_of_every_page_has_a_label(node: Any, browser: Any) -> None:
    client = browser(node, Role.ADMIN)
    scan = node.finished()
    node.user(Role.TECHNICIAN, "new", AccountStatus.PENDING)
    stranger = node.client()
    pages = [client.get(path) for path in ("/", f"/scans/{scan.id}", "/upload", "/users", "/system")]
    for page in [*pages, stranger.get("/sign-in"), stranger.get("/register")]:
        assert '<html lang="en">' in page.text
        tags = Tags(page.text)
        assert [field for field in tags.fields if field.get("id") not in tags.labels] == []


def test_pages_of_what_is_not_there(node: Any, browser: Any) -> None:
    client = browser(node)
    page = client.get(f"/scans/{'0' * 36}")
    assert (page.status_code, "No scan has this id." in page.text) == (404, True)
    assert client.get("/nothing").status_code == 404
    assert client.get("/users").status_code == 403
    assert client.get("/?cursor=abc").status_code == 422
