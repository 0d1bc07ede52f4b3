"""What became of results: commitment, dead letters, circuits, the button that sends again, and what a PACS says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.circuits import CircuitRepository, CircuitRow
from storage.commitments import CommitmentRepository
from storage.deliveries import DeliveryRepository
from storage.lifecycle import ScanEvent
from storage.pacs_answers import PacsAnswerRepository, PacsSeries, PacsStudy
from storage.requests import RequestRepository
from storage.reviews import ReviewRepository
from storage.scan_rows import ScanRow
from storage.vocabulary import DeliveryState, PacsAnswerState, RequestKind, ReviewVerdict, Role, RunState, Source
from web.delivery_view import Reached, reached
from web.outward_schemas import DeliveryOut


@pytest.fixture
def scan(node: Any) -> ScanRow:
    made: ScanRow = node.finished()
    return made


def refused(node: Any, scan: ScanRow, *, fails: bool = True) -> int:
    deliveries = DeliveryRepository(node.database, node.clock)
    (row,) = deliveries.of_scan(scan.id)
    deliveries.mark_failed(row.id, None, "the peer cannot understand the object, status 0xC000")
    if fails:
        node.scans.apply_event(scan.id, ScanEvent.FAIL, "not delivered", error_code="delivery-refused")
    return row.id


def test_a_refused_object_is_a_dead_letter_that_a_person_sends_again(
    node: Any, client: TestClient, scan: ScanRow
) -> None:
    headers = node.bearer(client)
    retry = f"/api/scans/{scan.id}/deliveries/1/retry"
    assert client.post(retry, headers=headers).status_code == 409
    assert client.get("/api/deliveries", headers=headers).json() == {"deadLetters": [], "circuits": []}
    number = refused(node, scan)
    (letter,) = client.get("/api/deliveries", headers=headers).json()["deadLetters"]
    assert (letter["id"], letter["scanId"], letter["destination"], letter["kind"]) == (number, scan.id, "PACS", "SEG")
    assert "0xC000" in letter["lastError"]
    (shown,) = client.get(f"/api/scans/{scan.id}", headers=headers).json()["deliveries"]
    assert (shown["state"], shown["canResend"]) == ("failed", True)
    answer = client.post(retry, headers=headers)
    assert (answer.status_code, answer.json()["request"]) == (202, "resend")
    assert client.post(retry, headers=headers).status_code == 202
    (asked,) = RequestRepository(node.database).pending()
    assert (asked.kind, asked.payload) == (RequestKind.RESEND, {"delivery_id": number})
    assert len(node.events("audit.resend")) == 2
    assert client.post(f"/api/scans/{scan.id}/deliveries/99/retry", headers=headers).status_code == 404


def test_the_page_has_the_button_and_says_what_holds_a_delivery(
    node: Any, browser: Callable[..., TestClient], scan: ScanRow
) -> None:
    client = browser(node)
    number = refused(node, scan)
    circuits = CircuitRepository(node.database)
    trial = node.clock() + timedelta(minutes=5)
    circuits.put(
        CircuitRow(destination="PACS", refusals=5, opened_at=node.clock(), trial_at=trial, last_error="<b>no</b> & no")
    )
    page = client.get("/deliveries").text
    assert "PACS refuses what it is sent" in page
    assert "&lt;b&gt;no&lt;/b&gt; &amp; no" in page
    action = f"/scans/{scan.id}/deliveries/{number}/retry"
    assert f'action="{action}"' in page
    assert f'action="{action}"' in client.get(f"/scans/{scan.id}").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    answer = client.post(action, data={"csrf": csrf, "from": "deliveries"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/deliveries")
    assert [row.kind for row in RequestRepository(node.database).pending()] == [RequestKind.RESEND]
    DeliveryRepository(node.database, node.clock).owe_once_more(number)
    assert "Held: the destination refuses everything" in client.get(f"/scans/{scan.id}").text
    (shown,) = client.get(f"/api/scans/{scan.id}").json()["deliveries"]
    assert shown["heldUntil"] is not None


def test_commitment_is_shown_and_a_denied_object_can_be_sent_again(
    node: Any, browser: Callable[..., TestClient], scan: ScanRow
) -> None:
    client = browser(node)
    deliveries = DeliveryRepository(node.database, node.clock)
    commitments = CommitmentRepository(node.database, node.clock)
    (row,) = deliveries.of_scan(scan.id)
    for transaction in ("9.1", "9.2"):
        deliveries.mark_sent(row.id, commit=True)
        commitments.begin("PACS", transaction)
        (shown,) = client.get(f"/api/scans/{scan.id}").json()["deliveries"]
        assert (shown["commitment"]["state"], shown["canResend"]) == ("owed", False)
        commitments.settle(transaction, [], {row.sop_instance_uid: "no such object instance, 0x0112"})
    (shown,) = client.get(f"/api/scans/{scan.id}").json()["deliveries"]
    assert (shown["state"], shown["commitment"]["state"], shown["canResend"]) == ("sent", "failed", True)
    text = client.get(f"/scans/{scan.id}").text
    assert "Storage commitment: failed (no such object instance, 0x0112)" in text
    assert "Send again" in text


def test_what_a_review_withholds_cannot_be_sent_again(node: Any, client: TestClient, scan: ScanRow) -> None:
    headers = node.bearer(client)
    number = refused(node, scan)
    reviews = ReviewRepository(node.database, node.clock)
    for verdict, code in ((ReviewVerdict.ON_HOLD, 409), (ReviewVerdict.REJECTED, 409), (ReviewVerdict.ACCEPTED, 202)):
        reviews.add(f"{scan.id}-1", verdict, comment="motion?", reviewer="ada")
        if verdict is ReviewVerdict.ACCEPTED:
            DeliveryRepository(node.database, node.clock).mark_failed(number, None, "status 0xC000")
        (shown,) = client.get(f"/api/scans/{scan.id}", headers=headers).json()["deliveries"]
        assert shown["canResend"] is (code == 202)
        assert client.post(f"/api/scans/{scan.id}/deliveries/{number}/retry", headers=headers).status_code == code


def test_what_the_pacs_says_stands_beside_what_is_here(
    node: Any, browser: Callable[..., TestClient], scan: ScanRow
) -> None:
    client = browser(node)
    headers = node.bearer(client)
    assert client.post(f"/api/scans/{scan.id}/fetch", headers=headers).status_code == 409
    answers = PacsAnswerRepository(node.database, node.clock)
    series = PacsSeries(series_instance_uid="1.2.3.1", modality="MR", description="t1 <mprage>", instances=48)
    absent = PacsSeries(series_instance_uid="1.2.3.9", modality="MR", description="flair", instances=30)
    prior = PacsStudy(study_instance_uid="1.9", study_date="20250102", description="MR Head", modalities=("MR",))
    answers.keep("1.2.3", "pacs", PacsAnswerState.ANSWERED, series=[series, absent], priors=[prior])
    (told,) = client.get(f"/api/scans/{scan.id}", headers=headers).json()["pacs"]
    assert [(one["atPacs"], one["here"]) for one in told["series"]] == [(48, 1), (30, 0)]
    assert [(one["studyInstanceUid"], one["scanId"]) for one in told["priors"]] == [("1.9", None)]
    text = client.get(f"/scans/{scan.id}").text
    assert "t1 &lt;mprage&gt;</bdi>: PACS says 48 instances, 1 here" in text
    assert "2025-01-02" in text

    assert client.post(f"/api/scans/{scan.id}/fetch", headers=headers).status_code == 202
    body = {"studyInstanceUid": "1.9"}
    assert client.post(f"/api/scans/{scan.id}/fetch", json=body, headers=headers).status_code == 202
    other = {"studyInstanceUid": "1.77"}
    assert client.post(f"/api/scans/{scan.id}/fetch", json=other, headers=headers).status_code == 409
    assert [row.payload for row in RequestRepository(node.database).pending()] == [{}, {"study_instance_uid": "1.9"}]

    answers.keep("1.2.3", "pacs", PacsAnswerState.MISMATCH, reason="another patient: nothing it says is used")
    text = client.get(f"/scans/{scan.id}").text
    assert "another patient: nothing it says is used" in text
    assert "PACS says" not in text


def delivered(node: Any, scan: ScanRow, *sent: str, reject: bool = False) -> ScanRow:
    """A scan that ended so: its SEG owed to these and to ARCHIVE, sent to these, the rest withdrawn or given up."""
    deliveries = DeliveryRepository(node.database, node.clock)
    (first,) = deliveries.of_scan(scan.id)
    for row in deliveries.owe(first.result_object_id, [*sent, "ARCHIVE"] if reject else sent):
        if row.destination in sent:
            deliveries.mark_sent(row.id)
    if reject:
        ReviewRepository(node.database, node.clock).add(
            first.run_id, ReviewVerdict.REJECTED, comment="x", reviewer="ada"
        )
    done: ScanRow = node.scans.apply_event(scan.id, ScanEvent.DELIVERED)
    return done


def states(client: TestClient, scan: ScanRow) -> list[str]:
    """What the page and its refresh say of a delivered scan."""
    pages = [client.get(f"/scans/{scan.id}").text, client.get(f"/scans/{scan.id}/state?seen=delivered").text]
    return [page.partition('id="scan-state"')[2].partition("</section>")[0] for page in pages]


def test_the_page_names_who_took_the_results(node: Any, browser: Callable[..., TestClient], scan: ScanRow) -> None:
    delivered(node, scan, "PACS", "VNA")
    for said in states(browser(node, Role.DOCTOR), scan):
        assert "Results were delivered to PACS, VNA." in said
        assert "withdrew" not in said


def test_the_page_says_what_a_review_withdrew(node: Any, browser: Callable[..., TestClient], scan: ScanRow) -> None:
    delivered(node, scan, "PACS", reject=True)
    for said in states(browser(node, Role.DOCTOR), scan):
        assert "Results were delivered to PACS." in said
        assert "A review withdrew what had not been sent to ARCHIVE." in said


def test_the_page_claims_no_delivery_where_no_destination_is(node: Any, browser: Callable[..., TestClient]) -> None:
    scan = node.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    node.scans.apply_event(scan.id, ScanEvent.COMPLETE)
    run = node.scans.start_run(scan.id, ["a"])
    node.scans.finish_run(run.id, RunState.DONE)
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED):
        node.scans.apply_event(scan.id, event)
    for said in states(browser(node, Role.DOCTOR), scan):
        assert "No destination is owed results." in said
        assert "delivered to" not in said


def test_a_later_runs_object_stands_for_one_that_was_withdrawn() -> None:
    def one(destination: str, kind: str, state: DeliveryState) -> DeliveryOut:
        return DeliveryOut(
            id=1,
            destination=destination,
            kind=kind,
            state=state.value,
            attempts=0,
            next_attempt_at=None,
            held_until=None,
            last_error="",
            sent_at=None,
            can_resend=False,
            commitment=None,
        )

    sent, withdrawn = DeliveryState.SENT, DeliveryState.WITHDRAWN
    rows = [one("A", "SEG", withdrawn), one("A", "SR", sent), one("A", "SR", withdrawn), one("B", "SEG", withdrawn)]
    assert reached(rows) == Reached(took=("A",), withdrawn=("A", "B"))
    assert reached([*rows, one("B", "SEG", sent), one("A", "SEG", sent), one("A", "SR", sent)]) == Reached(
        took=("A", "B"), withdrawn=()
    )
    assert reached([one("A", "SEG", sent), one("A", "REJECTION", withdrawn)]) == Reached(took=("A",), withdrawn=())
