from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from fastapi.testclient import TestClient
from sqlalchemy import text

from storage.vocabulary import Role


def test_looking_is_written_down_once_in_five_minutes(node: Any, client: TestClient) -> None:
    scan, doctor = node.finished(), node.bearer(client)
    for _ in range(3):
        client.get("/api/scans", headers=doctor)
        client.get(f"/api/scans/{scan.id}/slice/1", headers=doctor)
    assert (len(node.events("audit.list-scans")), len(node.events("audit.view-images"))) == (1, 1)
    node.clock.forward(minutes=6)
    client.get("/api/scans", headers=doctor)
    client.get("/api/scans", headers=node.bearer(client, Role.ADMIN))
    assert [event["username"] for event in node.events("audit.list-scans")] == ["doctor", "doctor", "admin"]


def test_the_trail_is_read_filtered_and_paged_by_administrators(node: Any, client: TestClient) -> None:
    scan, doctor, admin = node.finished(), node.bearer(client), node.bearer(client, Role.ADMIN)
    for _ in range(3):
        client.get(f"/api/scans/{scan.id}", headers=doctor)
    client.get(f"/api/scans/{scan.id}/download/report.json", headers=doctor)
    page = client.get("/api/audit?action=view-scan&limit=2", headers=admin).json()
    assert [one["action"] for one in page["items"]] == ["view-scan"] * 2
    rest = client.get(f"/api/audit?action=view-scan&before={page['nextBefore']}", headers=admin).json()
    assert (len(rest["items"]), rest["nextBefore"]) == (1, None)
    (download,) = client.get(f"/api/audit?action=download&scanId={scan.id}", headers=admin).json()["items"]
    assert (download["username"], download["address"], download["details"]) == (
        "doctor", "testclient", {"key": "report.json"},
    )  # fmt: skip
    mine = client.get("/api/audit?username=admin", headers=admin).json()["items"]
    assert {one["action"] for one in mine} == {"read-audit"}
    assert client.get("/api/audit?since=2026-01-01T00:00:00", headers=admin).status_code == 422
    assert client.get("/api/audit?until=2026-01-01T00:00:00Z", headers=admin).json()["items"] == []


def test_the_exports_are_json_lines_and_dicom_audit_messages(node: Any, client: TestClient) -> None:
    scan, doctor, admin = node.finished(), node.bearer(client), node.bearer(client, Role.ADMIN)
    evil = "o'<ne>&\x1b"
    node.user(Role.DOCTOR, evil)
    client.get(f"/api/scans/{scan.id}", headers=doctor)
    client.post("/api/auth/login", json={"username": evil, "password": "wrong horse battery"})
    lines = client.get("/api/audit/export", headers=admin).text.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["view-scan", "sign-in", "read-audit"]
    answer = client.get("/api/audit/export?format=dicom", headers=admin)
    assert answer.headers["content-type"].startswith("application/xml")
    view, failed, *used = ElementTree.fromstring(answer.text)
    assert view.find("EventIdentification/EventID").attrib == {  # type: ignore[union-attr]
        "csd-code": "110103",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Accessed",
    }
    event = view.find("EventIdentification")
    assert event is not None
    assert (event.get("EventActionCode"), event.get("EventOutcomeIndicator")) == ("R", "0")
    assert view.find("ActiveParticipant").get("UserID") == "doctor"  # type: ignore[union-attr]
    objects = [one.get("ParticipantObjectID") for one in view.findall("ParticipantObjectIdentification")]
    assert objects[0] == scan.id
    assert view.find("AuditSourceIdentification").get("AuditSourceID") == "BTNODE"  # type: ignore[union-attr]
    assert failed.find("EventIdentification").get("EventOutcomeIndicator") == "8"  # type: ignore[union-attr]
    assert failed.find("ActiveParticipant").get("UserID") == "o'<ne>&�"  # type: ignore[union-attr]
    assert len(used) == 2
    assert "Doe" not in answer.text


def test_a_forged_entry_is_found(node: Any, client: TestClient) -> None:
    scan, admin = node.finished(), node.bearer(client, Role.ADMIN)
    client.get(f"/api/scans/{scan.id}", headers=admin)
    client.get(f"/api/scans/{scan.id}", headers=admin)
    good = client.get("/api/audit/verify", headers=admin).json()
    assert (good["ok"], good["sealed"], good["fault"]) == (True, 2, "")
    with node.database.write() as session:
        session.execute(text("UPDATE events SET text = 'nobody saw it' WHERE sha256 IS NOT NULL AND id % 2 = 0"))
    bad = client.get("/api/audit/verify", headers=admin).json()
    assert (bad["ok"], "was changed" in bad["fault"]) == (False, True)
