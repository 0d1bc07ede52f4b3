from __future__ import annotations

import io
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.deliveries import DeliveryRepository
from storage.errors import Conflict
from storage.lifecycle import ScanEvent
from storage.scan_rows import ScanRow
from storage.vocabulary import Role, Source
from tests.unit.web.test_web_uploads import nifti


def delivered(node: Any) -> ScanRow:
    scan: ScanRow = node.finished()
    deliveries = DeliveryRepository(node.database, node.clock)
    for row in deliveries.of_scan(scan.id):
        deliveries.mark_sent(row.id)
    node.scans.apply_event(scan.id, ScanEvent.DELIVERED)
    return node.scans.get(scan.id)  # type: ignore[no-any-return]


def test_what_was_typed_is_corrected_and_the_trail_names_no_patient(node: Any, client: TestClient) -> None:
    scan = node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_name="Deo^Jane", patient_id="P1")
    doctor = node.bearer(client)
    changed = client.put(f"/api/scans/{scan.id}", json={"patientName": "Doe^Jane"}, headers=doctor)
    assert (changed.status_code, changed.json()["patientName"], changed.json()["patientId"]) == (200, "Doe^Jane", "P1")
    (event,) = node.events("audit.correct")
    assert (event["fields"], "Doe" in str(event)) == (["patient_name"], False)
    for wrong in ({"status": "failed"}, {"patientName": "a\nb"}, {"scanDate": "tomorrow"}, {"patientId": ""}):
        assert client.put(f"/api/scans/{scan.id}", json=wrong, headers=doctor).status_code == 422


def test_a_study_keeps_its_patient_and_technicians_correct_their_own(node: Any, client: TestClient) -> None:
    technician = node.bearer(client, Role.TECHNICIAN)
    mine = node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=node.user(Role.TECHNICIAN).id, patient_name="a")
    theirs = node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=node.user(Role.DOCTOR).id, patient_name="b")
    change = {"patientName": "c"}
    assert client.put(f"/api/scans/{mine.id}", json=change, headers=technician).status_code == 200
    assert client.put(f"/api/scans/{theirs.id}", json=change, headers=technician).status_code == 403
    study = client.put(f"/api/scans/{node.study().id}", json=change, headers=node.bearer(client))
    assert (study.status_code, study.json()["type"].rpartition(":")[2]) == (409, "fixed-identity")


def test_deleting_hides_restoring_shows_and_erasing_ends(node: Any, client: TestClient) -> None:
    scan = delivered(node)
    url, doctor, admin = f"/api/scans/{scan.id}", node.bearer(client), node.bearer(client, Role.ADMIN)
    folder = node.files.run_folder(f"{scan.id}-1")
    assert client.delete(url, headers=doctor).status_code == 204
    for path in (url, f"{url}/slice/0", f"{url}/download/report.json", f"{url}/events?seconds=0", f"{url}/images"):
        assert client.get(path, headers=doctor).status_code == 404
    assert client.post(f"{url}/retry", headers=doctor).status_code == 404
    assert client.get("/api/scans", headers=doctor).json()["items"] == []
    hidden = client.get("/api/scans?deleted=true", headers=doctor).json()["items"]
    assert [one["id"] for one in hidden] == [scan.id]
    assert client.get("/api/scans?deleted=true", headers=node.bearer(client, Role.TECHNICIAN)).status_code == 403
    assert client.post(f"{url}/restore", headers=doctor).json()["patientName"] == "Doe^Jane"
    assert client.get(url, headers=doctor).status_code == 200

    assert client.delete(f"{url}?erase=true", headers=doctor).status_code == 403
    assert client.get(url, headers=doctor).status_code == 200
    assert (folder / "report.json").exists()
    assert client.delete(f"{url}?erase=true", headers=admin).status_code == 204
    assert not folder.exists()
    assert client.post(f"{url}/restore", headers=admin).status_code == 404
    assert client.get("/api/scans?deleted=true", headers=admin).json()["items"] == []
    kinds = ("delete-scan", "restore-scan", "delete-scan", "erase-scan")
    trail = client.get("/api/audit", headers=admin).json()["items"]
    done = [one["action"] for one in trail if one["action"].endswith("-scan") and one["action"] != "view-scan"]
    assert done == [*reversed(kinds)]


def test_a_scan_on_its_way_is_not_deleted_and_the_attempt_is_kept(node: Any, client: TestClient) -> None:
    scan = node.finished()  # its SEG is still owed
    answer = client.delete(f"/api/scans/{scan.id}", headers=node.bearer(client))
    assert (answer.status_code, "being delivered" in answer.json()["detail"]) == (409, True)
    assert [event["outcome"] for event in node.events("audit.delete-scan")] == ["failure"]


def test_what_is_on_hold_is_not_erased(node: Any, client: TestClient) -> None:
    scan = delivered(node)
    admin = node.bearer(client, Role.ADMIN)
    context = client.app.state.context  # type: ignore[attr-defined]
    hold = context.holds.place(scan.id, whole_patient=True, reason="study", by="ada")
    answer = client.delete(f"/api/scans/{scan.id}?erase=true", headers=admin)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "busy-hold")
    assert client.get(f"/api/scans/{scan.id}", headers=admin).status_code == 200
    context.care.delete(scan.id, "ada")
    with pytest.raises(Conflict, match="on hold"):
        context.erase(scan.id, "ada")
    assert (node.files.run_folder(f"{scan.id}-1") / "report.json").exists()
    context.holds.release(scan.id, hold.id, by="ada")
    assert client.delete(f"/api/scans/{scan.id}?erase=true", headers=admin).status_code == 204


def test_two_scans_are_set_side_by_side(node: Any, client: TestClient) -> None:
    first, second = node.finished(), node.study(uid="1.2.4")
    results = dict(first.results)
    results["measurements"] = {"values": [{"quantity": "volume", "subject": "WT", "value": 51.315, "unit": "mL"}]}
    node.scans.set_results(second.id, results)
    query = {"first": first.id, "second": second.id}
    found = client.get("/api/compare", params=query, headers=node.bearer(client)).json()
    assert [scan["id"] for scan in found["scans"]] == [first.id, second.id]
    assert (found["samePatient"], found["daysBetween"], found["sameModels"]) == (True, 0, True)
    (volume,) = [row for row in found["measures"] if row["quantity"] == "volume"]
    assert (volume["first"], volume["second"], round(volume["percent"])) == (34.21, 51.315, 50)
    assert len(node.events("audit.compare")) == 2


def test_an_upload_under_a_key_is_taken_once(node: Any, client: TestClient) -> None:
    def send(key: str, data: bytes = b"", name: str = "t1.nii", who: Role = Role.DOCTOR) -> Any:
        files = [("files", (name, io.BytesIO(data or nifti())))]
        headers = {**node.bearer(client, who), "Idempotency-Key": key}
        return client.post("/api/process-mri", files=files, headers=headers)

    first, again = send("k1"), send("k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert send("k1", name="t2.nii").json()["type"].endswith(":key-used")
    assert send("k1", who=Role.ADMIN).json() != first.json()
    assert send("k2", b"no nifti").status_code == 422
    assert send("k2").status_code == 202  # what was refused gives the key back
    node.clock.forward(hours=25)
    assert send("k1", name="t2.nii").status_code == 202
    assert len(client.get("/api/scans", headers=node.bearer(client)).json()["items"]) == 4
    context = client.app.state.context  # type: ignore[attr-defined]
    context.known_uploads.claim(node.user().id, "k3", "x")
    assert send("k3").status_code == 422


@pytest.mark.parametrize("key", ["a b", "x" * 101])
def test_a_key_is_plain_text(node: Any, client: TestClient, key: str) -> None:
    headers = {**node.bearer(client), "Idempotency-Key": key}
    assert client.post("/api/process-mri", files={"files": ("t1.nii", nifti())}, headers=headers).status_code == 422
