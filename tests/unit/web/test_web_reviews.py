"""Reviews through the API: who, what is refused, what holds, and what the trail says of it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import Role


def test_a_doctor_holds_then_accepts_and_the_scan_says_so(node: Any, client: TestClient) -> None:
    scan, doctor = node.finished(), node.bearer(client, Role.DOCTOR)
    url = f"/api/scans/{scan.id}/reviews"
    before = client.get(url, headers=doctor).json()
    assert (before["runId"], before["current"], before["items"]) == (f"{scan.id}-1", None, [])
    held = client.post(url, headers=doctor, json={"verdict": "on-hold", "comment": "Doe: second reader"})
    assert (held.status_code, held.json()["verdict"], held.json()["reviewerName"]) == (201, "on-hold", "Doctor")
    told = client.get(f"/api/scans/{scan.id}", headers=doctor).json()
    assert told["status"] == "awaiting_review"
    assert [one["state"] for one in told["deliveries"]] == ["waiting"]
    node.clock.forward(minutes=5)
    accepted = client.post(url, headers=doctor, json={"verdict": "accepted", "runId": before["runId"]}).json()
    told = client.get(f"/api/scans/{scan.id}", headers=doctor).json()
    assert (told["status"], told["review"]) == ("delivering", accepted)
    listed = client.get(url, headers=doctor).json()
    assert listed["current"] == accepted
    assert [(one["verdict"], one["replacedAt"] is None) for one in listed["items"]] == [
        ("on-hold", False),
        ("accepted", True),
    ]
    trail = node.events("audit.review")
    assert [(entry["verdict"], entry["username"], entry["run_id"]) for entry in trail] == [
        ("on-hold", "doctor", before["runId"]),
        ("accepted", "doctor", before["runId"]),
    ]
    assert "Doe" not in str(trail)
    assert 'btn_reviews{verdict="accepted"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "rejected"}, 422),
        ({"verdict": "on-hold", "comment": "  "}, 422),
        ({"verdict": "perhaps"}, 422),
        ({"verdict": "accepted", "comment": "x" * 2001}, 422),
        ({"verdict": "accepted", "runId": "another"}, 409),
        ({"verdict": "rejected", "comment": "not a tumour"}, 201),
    ],
)
def test_what_a_review_must_say(node: Any, client: TestClient, body: dict[str, str], status: int) -> None:
    scan = node.finished()
    answer = client.post(f"/api/scans/{scan.id}/reviews", headers=node.bearer(client, Role.ADMIN), json=body)
    assert answer.status_code == status


def test_a_scan_without_results_cannot_be_reviewed(node: Any, client: TestClient) -> None:
    scan = node.study()
    url = f"/api/scans/{scan.id}/reviews"
    answer = client.post(url, headers=node.bearer(client), json={"verdict": "accepted"})
    assert (answer.status_code, answer.json()["type"].rsplit(":", 1)[1]) == (409, "no-results")
