from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.lifecycle import ScanEvent
from storage.requests import RequestRepository
from storage.vocabulary import RequestKind, Source


def test_pages_follow_one_another_while_scans_arrive(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)

    def arrive(count: int) -> None:
        for _ in range(count):
            node.clock.forward(seconds=1)
            node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_id="P")

    arrive(7)
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/scans", params=params, headers=doctor).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        arrive(1)
    assert len(seen) == len(set(seen)) == 7


def test_filters_narrow_the_list(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    first = node.study(uid="1.1", name="Curie^Marie", patient_id="A")
    second = node.study(uid="1.2", name="Meitner^Lise", patient_id="B")
    node.scans.apply_event(second.id, ScanEvent.REJECT, "nothing here", error_code="x")

    def ids(**params: Any) -> list[str]:
        return [item["id"] for item in client.get("/api/scans", params=params, headers=doctor).json()["items"]]

    assert ids(q="curie") == [first.id]
    assert ids(patientId="B") == [second.id]
    assert ids(status="ineligible") == [second.id]
    assert set(ids(status=["received", "ineligible"])) == {first.id, second.id}
    assert ids(q="' OR 1=1 --") == ids(q="%") == ids(patientId="A' --") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1000000000",
        "limit=NaN",
        "limit=-1",
        "status=unknown",
        "cursor=abc",
        "cursor=" + "A" * 5000,
        "q=" + "x" * 5000,
        "patientId=a%00b",
        "q=%00",
    ],
)
def test_a_query_that_cannot_be_is_refused(node: Any, client: TestClient, query: str) -> None:
    answer = client.get(f"/api/scans?{query}", headers=node.bearer(client))
    assert answer.status_code == 422
    assert set(answer.json()) >= {"type", "title", "status", "detail"}


@pytest.mark.parametrize("scan_id", ["x" * 5000, "..%2f..%2fetc", "a'b", "%00"])
def test_an_odd_id_is_no_scan(node: Any, client: TestClient, scan_id: str) -> None:
    assert client.get(f"/api/scans/{scan_id}", headers=node.bearer(client)).status_code in (404, 422)


def test_a_cursor_of_another_list_or_an_edited_one_is_refused(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    for uid in ("1.1", "1.2"):
        node.study(uid=uid, patient_id=uid)
    cursor = client.get("/api/scans", params={"limit": 1}, headers=doctor).json()["nextCursor"]
    for params in ({"cursor": cursor, "q": "x"}, {"cursor": cursor[:-4] + "AAAA"}):
        assert client.get("/api/scans", params=params, headers=doctor).status_code == 422


def test_a_scan_tells_its_series_what_is_missing_and_what_is_owed(node: Any, client: TestClient) -> None:
    scan = node.finished()
    found = client.get(f"/api/scans/{scan.id}", headers=node.bearer(client)).json()
    assert {name: found[name] for name in ("patientId", "patientName", "scanDate", "modalities", "status")} == {
        "patientId": "P1",
        "patientName": "Doe^Jane",
        "scanDate": "2026-11-14",
        "modalities": ["T1"],
        "status": "delivering",
    }
    used, excluded = found["series"]
    assert (used["role"], used["score"], used["reasons"]) == ("T1", 0.93, ["TR 2300 ms"])
    assert (excluded["role"], excluded["excludedReason"]) == (None, "a localizer: three orientations")
    assert found["missingRoles"] == ["T1CE", "T2", "FLAIR"]
    assert [(one["destination"], one["kind"], one["state"]) for one in found["deliveries"]] == [("PACS", "SEG", "owed")]
    assert found["results"]["detection"]["probability"] == 0.973
    assert found["finding"] == "tumour 97 %, 34.2 mL"
    assert found["downloads"] == ["report.json", "segmentation.nii.gz", "reference.nii.gz"]
    kinds = [event["kind"] for event in found["events"]]
    assert kinds[0] == "received"
    assert "reported" in kinds
    assert not any(kind.startswith("audit") for kind in kinds)
    viewed = node.events("audit.view-scan")
    assert [(event["username"], event["outcome"]) for event in viewed] == [("doctor", "success")]


def test_what_it_waits_for_is_told(node: Any, client: TestClient) -> None:
    scan = node.study()
    node.scans.apply_event(scan.id, ScanEvent.ASSEMBLE, "")
    node.scans.set_waiting(scan.id, "T1CE")
    found = client.get(f"/api/scans/{scan.id}", headers=node.bearer(client)).json()
    assert (found["status"], found["waitingFor"]) == ("assembling", "T1CE")


def test_buttons_leave_one_request_for_the_worker(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    scan = node.study()
    for _ in range(2):
        assert client.post(f"/api/scans/{scan.id}/process-now", headers=doctor).status_code == 202
    assert client.post(f"/api/scans/{scan.id}/retry", headers=doctor).status_code == 409
    node.scans.apply_event(scan.id, ScanEvent.FAIL, "broken", error_code="x")
    assert client.post(f"/api/scans/{scan.id}/process-now", headers=doctor).status_code == 409
    assert client.post(f"/api/scans/{scan.id}/retry", headers=doctor).status_code == 202
    pending = RequestRepository(node.database).pending()
    assert [(row.kind, row.user_id) for row in pending] == [
        (RequestKind.PROCESS_NOW, node.user().id),
        (RequestKind.RETRY, node.user().id),
    ]


def test_a_person_can_choose_roles(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    scan = node.study()

    def choose(roles: dict[str, str | None]) -> int:
        return client.put(f"/api/scans/{scan.id}/roles", json={"roles": roles}, headers=doctor).status_code

    assert choose({"1.2.3.2": "T1CE", "1.2.3.1": None}) == 202
    assert choose({"9.9": "T1"}) == 422
    assert choose({"1.2.3.1": "T1", "1.2.3.2": "T1"}) == 422
    assert choose({"1.2.3.1": "T9"}) == 422
    assert choose({}) == 422
    (row,) = RequestRepository(node.database).pending()
    assert row.kind is RequestKind.ROLE_OVERRIDE
    assert row.payload == {"roles": {"1.2.3.1": None, "1.2.3.2": "T1CE"}, "by": "doctor"}
    upload = node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    answer = client.put(f"/api/scans/{upload.id}/roles", json={"roles": {"1.2": "T1"}}, headers=doctor)
    assert answer.status_code == 409
