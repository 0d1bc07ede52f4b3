"""Received images that were removed, and holds, on the page and through the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.deliveries import DeliveryRepository
from storage.lifecycle import ScanEvent
from storage.removals import RemovalRepository
from storage.scan_rows import ScanRow
from storage.vocabulary import Role


@pytest.fixture
def delivered(node: Any) -> ScanRow:
    scan = node.finished()
    deliveries = DeliveryRepository(node.database, node.clock)
    for row in deliveries.of_scan(scan.id):
        deliveries.mark_sent(row.id)
    done: ScanRow = node.scans.apply_event(scan.id, ScanEvent.DELIVERED)
    return done


def test_the_page_says_that_images_were_removed(
    node: Any, browser: Callable[..., TestClient], delivered: ScanRow
) -> None:
    client = browser(node)
    assert "All are here." in client.get(f"/scans/{delivered.id}").text
    removals = RemovalRepository(node.database, node.files, clock=node.clock)
    removal = removals.begin(delivered.id, node.clock() + timedelta(days=1), "30 days after delivery")
    assert removal is not None
    removals.carry_out(removal.id)
    page = client.get(f"/scans/{delivered.id}").text
    assert f"{removal.instances} images were removed" in page
    assert "(30 days after delivery). Results are kept." in page
    told = client.get(f"/api/scans/{delivered.id}").json()["retention"]
    assert (told["removedInstances"], told["why"]) == (removal.instances, "30 days after delivery")
    assert told["removedAt"] is not None


def test_a_hold_is_placed_by_a_doctor_and_released_by_an_administrator(
    node: Any, client: TestClient, delivered: ScanRow
) -> None:
    doctor, admin = node.bearer(client, Role.DOCTOR), node.bearer(client, Role.ADMIN)
    url = f"/api/scans/{delivered.id}/holds"
    assert client.post(url, headers=doctor, json={"reason": " "}).status_code == 422
    placed = client.post(url, headers=doctor, json={"reason": "case 7\r\nforged", "wholePatient": True})
    assert placed.status_code == 201
    assert (placed.json()["wholePatient"], "\n" in placed.json()["reason"]) == (True, False)
    removals = RemovalRepository(node.database, node.files, clock=node.clock)
    assert removals.begin(delivered.id, node.clock() + timedelta(days=1), "x") is None
    (told,) = client.get(f"/api/scans/{delivered.id}", headers=doctor).json()["retention"]["holds"]
    assert told == placed.json()
    release = f"{url}/{told['id']}/release"
    assert client.post(release, headers=doctor).status_code == 403
    assert client.post(release, headers=admin).status_code == 204
    assert client.post(release, headers=admin).status_code == 404
    assert client.get(f"/api/scans/{delivered.id}", headers=doctor).json()["retention"]["holds"] == []
    assert len(node.events("audit.hold")) == len(node.events("audit.hold-released")) == 1


def test_the_buttons_do_the_same(node: Any, browser: Callable[..., TestClient], delivered: ScanRow) -> None:
    client = browser(node, Role.ADMIN)
    page = client.get(f"/scans/{delivered.id}").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    answer = client.post(
        f"/scans/{delivered.id}/holds", data={"csrf": csrf, "reason": "<b>study</b>"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"/scans/{delivered.id}")
    page = client.get(f"/scans/{delivered.id}").text
    assert "On hold: <bdi>&lt;b&gt;study&lt;/b&gt;</bdi>" in page
    action = page.split('/release"')[0].rsplit('action="', 1)[1] + "/release"
    assert client.post(action, data={"csrf": csrf}, follow_redirects=False).status_code == 303
    assert "On hold" not in client.get(f"/scans/{delivered.id}").text
