"""Administration: accounts, peers and destinations, the queue, the audit trail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from storage.lifecycle import ScanEvent
from storage.vocabulary import AccountStatus, Role
from web.neighbours import Answer, DestinationShown, Neighbours, PeerShown

Browser = Callable[..., TestClient]


@pytest.fixture
def admin(node: Any, browser: Browser) -> TestClient:
    return browser(node, Role.ADMIN)


def post(client: TestClient, path: str, **fields: str) -> Any:
    context = client.app.state.context  # type: ignore[attr-defined]
    csrf = context.tokens.csrf(context.tokens.read(client.cookies["btn_session"]).token_id)
    return client.post(path, data={"csrf": csrf, **fields}, follow_redirects=False)


def test_an_account_is_made_and_may_sign_in_at_once(node: Any, admin: TestClient, client: TestClient) -> None:
    fields = {"username": "m.curie", "email": "m.curie@hospital.example", "fullName": "Marie Curie", "role": "doctor"}
    assert post(admin, "/users", **fields, password="a long pass phrase").status_code == 303
    made = node.users.by_username("m.curie")
    assert (made.role, made.status, made.full_name) == (Role.DOCTOR, AccountStatus.ACTIVE, "Marie Curie")
    signed = client.post("/api/auth/login", json={"username": "m.curie", "password": "a long pass phrase"})
    assert signed.status_code == 200
    events = node.events("audit.create-user")
    assert [(event["username"], event["account"]) for event in events] == [("admin", "m.curie")]
    assert "a long pass phrase" not in json.dumps(events)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"password": "short"}, 422, "at least 10 characters"),
        ({"username": "<b>"}, 422, "Check these fields: username"),
        ({"role": "root"}, 422, "Choose one of the roles"),
        ({"username": "admin"}, 409, "already in use"),
    ],
)
def test_an_account_that_cannot_be_is_refused_with_what_was_typed(
    node: Any, admin: TestClient, change: dict[str, str], code: int, said: str
) -> None:
    good = {"username": "new.one", "email": "new@hospital.example", "role": "doctor", "password": "a long pass phrase"}
    answer = post(admin, "/users", **(good | change))
    assert answer.status_code == code
    assert said in answer.text
    assert 'value="new@hospital.example"' in answer.text
    assert "<b>" not in answer.text.replace("<b>Research", "")
    assert "a long pass phrase" not in answer.text


def test_another_role_and_the_end_of_every_sign_in_count_at_once(
    node: Any, admin: TestClient, browser: Browser
) -> None:
    doctor = browser(node, Role.DOCTOR)
    user = node.user(Role.DOCTOR)
    assert doctor.get("/models").status_code == 200
    assert post(admin, f"/users/{user.id}/role", role="technician").status_code == 303
    assert node.users.by_id(user.id).role is Role.TECHNICIAN
    assert doctor.get("/models", follow_redirects=False).status_code == 303
    again = browser(node, Role.TECHNICIAN)
    other = node.user(Role.TECHNICIAN)
    assert again.get("/").status_code == 200
    assert post(admin, f"/users/{other.id}/sign-out").status_code == 303
    assert again.get("/", follow_redirects=False).status_code == 303
    assert [event["role"] for event in node.events("audit.change-role")] == ["technician"]
    assert [event["account"] for event in node.events("audit.end-sign-ins")] == ["technician"]


def test_nobody_changes_the_own_role_or_an_account_that_is_not(node: Any, admin: TestClient) -> None:
    own = node.user(Role.ADMIN)
    assert post(admin, f"/users/{own.id}/role", role="doctor").status_code == 409
    for path in ("role", "sign-out"):
        assert post(admin, f"/users/999/{path}", role="doctor").status_code == 404


def neighbours(answers: dict[str, Answer]) -> Neighbours:
    def shown(name: str) -> DestinationShown:
        return DestinationShown(
            name=name, kind="dicom", address=f"{name} at pacs port 104", tls=False, kinds=("SEG", "SR"), commitment=True
        )

    return Neighbours(
        ae_title="BTNODE",
        port=11112,
        peers=(PeerShown(ae_title="SCANNER", addresses=("10.0.0.0/8",), services=("store", "echo")),),
        destinations=tuple(shown(name) for name in answers),
        test=answers.__getitem__,
    )


def test_peers_and_destinations_are_shown_and_one_is_tested(node: Any, browser: Browser) -> None:
    node.neighbours = neighbours(
        {
            "PACS": Answer(ok=True, text="answered", took_ms=12),
            "DOWN": Answer(ok=False, text="no association: <nothing> listens", took_ms=3),
        }
    )
    admin = browser(node, Role.ADMIN)
    page = admin.get("/peers").text
    assert all(text in page for text in ("SCANNER", "10.0.0.0/8", "PACS at pacs port 104", "BTNODE"))
    assert "answered (12 ms)" in re.sub(r"\s+", " ", post(admin, "/peers/test", destination="PACS").text)
    failed = post(admin, "/peers/test", destination="DOWN").text
    assert "&lt;nothing&gt; listens" in failed
    assert post(admin, "/peers/test", destination="http://elsewhere").status_code == 404
    tested = [(event["destination"], event["outcome"]) for event in node.events("audit.test-destination")]
    assert tested == [("PACS", "success"), ("DOWN", "failure")]


def test_the_queue_and_what_failed_stand_on_the_systems_page(node: Any, admin: TestClient) -> None:
    waiting, broken = node.study(uid="1.1"), node.study(uid="1.2")
    node.scans.apply_event(waiting.id, ScanEvent.COMPLETE, "")
    node.scans.apply_event(broken.id, ScanEvent.COMPLETE, "")
    node.scans.start_run(broken.id, ["1"])
    node.scans.apply_event(broken.id, ScanEvent.FAIL, "the disk is full", error_code="disk-full")
    page = admin.get("/system").text
    assert f'href="/scans/{waiting.id}"' in page
    assert "the disk is full" in page
    assert f'action="/scans/{broken.id}/retry"' in page
    assert "Doe" not in page
    assert post(admin, f"/scans/{broken.id}/retry").status_code == 303


def test_the_trail_is_filtered_paged_and_exported(node: Any, admin: TestClient, client: TestClient) -> None:
    scan = node.study()
    for role in (Role.DOCTOR, Role.TECHNICIAN):
        assert client.get(f"/api/scans/{scan.id}", headers=node.bearer(client, role)).status_code == 200
    page = admin.get("/audit", params={"action": "view-scan", "username": "doctor"}).text
    assert page.count('<th scope="row" class="clip"><bdi>doctor</bdi>') == 1
    assert "<bdi>technician</bdi>" not in page
    assert scan.id[:8] in admin.get("/audit", params={"scanId": scan.id}).text
    assert "No entry matches" in admin.get("/audit", params={"to": "2020-01-01"}).text
    (jsonl, dicom) = re.findall(r'href="(/api/audit/export[^"]+)"', page)
    lines = [json.loads(line) for line in admin.get(jsonl.replace("&amp;", "&")).text.splitlines()]
    assert [(line["action"], line["username"]) for line in lines] == [("view-scan", "doctor")]
    assert len(ElementTree.fromstring(admin.get(dicom.replace("&amp;", "&")).text)) == 1
    for _ in range(50):
        assert client.get(f"/api/scans/{scan.id}", headers=node.bearer(client)).status_code == 200
    first = admin.get("/audit", params={"action": "view-scan"}).text
    (older,) = re.findall(r'href="(/audit\?[^"]*before=\d+)"', first)
    second = admin.get(older.replace("&amp;", "&")).text
    assert first.count("<tr>") == 51
    assert "Older" not in second


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", "9999-12-31"])
def test_a_day_that_is_none_is_refused(admin: TestClient, day: str) -> None:
    assert admin.get("/audit", params={"to": day}).status_code == 422
