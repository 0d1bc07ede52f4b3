"""The plain list is answered before the routes, with the bytes of the route and no right more than it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.errors import StorageUnavailable
from storage.scans import ScanRepository
from storage.users import UserRepository
from storage.vocabulary import AccountStatus, Role, Source
from web.schemas import ScanPage
from web.view_log import WINDOW


class RouteTaken(Exception):
    pass


@pytest.fixture
def no_route(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function after which the route's own way to the list fails."""

    def forbid() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise RouteTaken

        monkeypatch.setattr(ScanRepository, "list_lines", refuse)

    return forbid


def fill(node: Any) -> None:
    for number in range(5):
        node.clock.forward(seconds=1.25)
        node.scans.create_upload(
            Source.UPLOAD_NIFTI, user_id=None, patient_id=f"P{number}", patient_name='<b>"Ünal^\\', modalities=["T1"]
        )
    node.study()


QUERIES = ("", "limit=2", "sort=createdAt", "sort=-createdAt&limit=3", "limit=200")


def test_the_bytes_are_the_routes_and_fit_the_schema(node: Any, client: TestClient, no_route: Any) -> None:
    fill(node)
    doctor = node.bearer(client)
    usual = {}
    for query in QUERIES:
        client.app.state.context.views._written.clear()  # type: ignore[attr-defined]
        usual[query] = client.get(f"/api/scans?{query}", headers=doctor)
    after = f"limit=2&cursor={usual['limit=2'].json()['nextCursor']}"
    client.app.state.context.views._written.clear()  # type: ignore[attr-defined]
    usual[after] = client.get(f"/api/scans?{after}", headers=doctor)
    no_route()
    for query, expected in usual.items():
        quick = client.get(f"/api/scans?{query}", headers=doctor)
        assert quick.content == expected.content
        same = {name: value for name, value in quick.headers.items() if name != "date"}
        assert same == {name: value for name, value in expected.headers.items() if name != "date"}
        page = ScanPage.model_validate_json(quick.content, strict=True)
        assert page.model_dump(mode="json", by_alias=True) == quick.json()


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=2&limit=3", "cursor=abc", "sort=name", "status=failed", "q=P1", "deleted=1", "x=1"],
)
def test_all_else_is_the_routes(node: Any, client: TestClient, no_route: Any, query: str) -> None:
    fill(node)
    doctor = node.bearer(client)
    client.get("/api/scans", headers=doctor)
    refused = client.get(f"/api/scans?{query}", headers=doctor)
    no_route()
    again = client.get(f"/api/scans?{query}", headers=doctor)
    assert (again.status_code, refused.status_code) in ((422, 422), (500, 422), (500, 200))


def test_a_view_is_in_the_trail_before_it_is_answered(node: Any, client: TestClient, no_route: Any) -> None:
    fill(node)
    doctor = node.bearer(client)
    for _ in range(3):
        assert client.get("/api/scans", headers=doctor).status_code == 200
    assert len(node.events("audit.list-scans")) == 1
    assert client.get("/api/scans", headers=node.bearer(client, Role.TECHNICIAN)).status_code == 200
    node.clock.forward(seconds=WINDOW.total_seconds())
    assert client.get("/api/scans", headers=node.bearer(client)).status_code == 200
    assert [event["username"] for event in node.events("audit.list-scans")] == ["doctor", "technician", "doctor"]
    node.clock.forward(seconds=WINDOW.total_seconds())
    no_route()
    assert client.get("/api/scans", headers=node.bearer(client)).status_code == 500


def test_what_could_not_be_written_down_is_not_shown_later(
    node: Any, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(node)
    doctor = node.bearer(client)
    audit = client.app.state.context.audit  # type: ignore[attr-defined]

    def full(*_: object, **__: object) -> None:
        raise StorageUnavailable("the trail cannot be written")

    monkeypatch.setattr(type(audit), "append", full)
    for _ in range(2):
        answer = client.get("/api/scans", headers=doctor)
        assert answer.status_code >= 500
        assert "Ünal" not in answer.text


def test_whoever_may_no_longer_sees_nothing_more(node: Any, client: TestClient) -> None:
    fill(node)
    doctor = node.bearer(client)
    assert client.get("/api/scans", headers=doctor).status_code == 200
    assert client.get("/api/scans", headers=doctor).status_code == 200
    page_token = client.app.state.context.tokens.issue(1, 1, for_pages=True)  # type: ignore[attr-defined]
    for header in ("", "Bearer", "Bearer x", f"Basic {doctor['Authorization'][7:]}", f"Bearer {page_token}"):
        assert client.get("/api/scans", headers={"Authorization": header}).status_code == 401
    UserRepository(node.database).set_status(node.user().id, AccountStatus.DISABLED)
    assert client.get("/api/scans", headers=doctor).status_code == 401


def test_a_token_that_was_read_before_still_expires(node: Any, client: TestClient) -> None:
    fill(node)
    doctor = node.bearer(client)
    assert client.get("/api/scans", headers=doctor).status_code == 200
    node.clock.forward(minutes=node.settings.token_minutes)
    assert client.get("/api/scans", headers=doctor).status_code == 401


def test_answers_are_counted_under_the_route(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    for _ in range(3):
        client.get("/api/scans", headers=doctor)
    counted = 'btn_http_requests_total{method="GET",route="/api/scans",status="200"} 3.0'
    assert counted in client.get("/metrics").text
