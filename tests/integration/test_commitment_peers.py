"""Storage commitment both ways, with Orthanc and with pynetdicom's own entities as peers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage
from pynetdicom import AE, evt

from dicom_node.commitment import exchange
from dicom_node.commitment.data import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentReport, request_dataset
from dicom_node.commitment_answers import CommitmentAnswers
from dicom_node.outbound.association import association
from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.commitment import CommitmentAsker, CommitmentPolicy, send_report
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.destinations import sender_for
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.results.encoders import encode_all
from storage.clock import Clock, utc_now
from storage.commitments import CommitmentRepository
from storage.vocabulary import CommitmentState, ReportState
from tests.listener import Listener, listening
from tests.mr_series import mr_series
from tests.orthanc import Modality, OrthancServer
from tests.outbox import Outbox, SteppedClock, outbox
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()
RESULTS = encode_all(full_report(SERIES.grid), evidence_of(SERIES), STAMP)
S = CommitmentState


class Pacs:
    """A peer that stores, and does with commitment requests what `manner` says."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.requests: list[tuple[str, list[tuple[str, str]]]] = []
        self.stored: list[str] = []
        ae = AE(ae_title="PACS")
        ae.add_supported_context(SegmentationStorage)
        ae.add_supported_context(Comprehensive3DSRStorage)
        if manner != "without the service":
            ae.add_supported_context(PUSH_MODEL)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._requested)]
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _requested(self, event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        named = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in information.ReferencedSOPSequence]
        self.requests.append((information.TransactionUID, named))
        if self.manner == "refuses the request":
            return 0x0124, None
        if self.manner in ("commits here", "denies here"):
            threading.Thread(target=self._report, args=(event.assoc,)).start()
        return 0x0000, None

    def _report(self, assoc: Any) -> None:
        report = self.report(0x0112 if self.manner == "denies here" else None)
        assert exchange.send_report(assoc, report, timeout_s=10) == 0x0000

    def report(self, reason: int | None = None) -> CommitmentReport:
        """On the latest request: all committed, or all failed for `reason`."""
        transaction_uid, named = self.requests[-1]
        references = tuple((str(sop_class), str(uid)) for sop_class, uid in named)
        if reason is None:
            return CommitmentReport(transaction_uid=transaction_uid, committed=references)
        return CommitmentReport(transaction_uid=transaction_uid, failed=tuple((one, reason) for one in references))


@contextmanager
def pacs(manner: str) -> Iterator[tuple[Pacs, Destination]]:
    made = Pacs(manner)
    try:
        yield made, destination(made.server.server_address[1])
    finally:
        made.server.shutdown()


def destination(port: int, **changes: object) -> Destination:
    known = {
        "name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "timeout_s": 5.0,
        "commitment": "request",
    }  # fmt: skip
    return Destination(**{**known, **changes})


class Node:
    """The outbox with what sends from it and asks about it."""

    def __init__(self, box: Outbox, to: Destination, *, wait_s: float = 2.0) -> None:
        self.box = box
        self.commitments = CommitmentRepository(box.database, box.clock)
        self.deliverer = Deliverer(
            box.deliveries, {to.name: sender_for(to, "BTNODE")}, box.resolve, committing=[to.name], clock=box.clock
        )
        policy = CommitmentPolicy(wait_s=wait_s, ask_again_s=6 * 3600, give_up_s=24 * 3600)
        self.asker = CommitmentAsker(self.commitments, [to], "BTNODE", policy=policy, clock=box.clock)

    def states(self) -> list[CommitmentState]:
        return [row.state for row in self.commitments.of_scan(self.box.scan_id).values()]

    def reasons(self) -> set[str]:
        return {row.reason for row in self.commitments.of_scan(self.box.scan_id).values()}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        made.owe(RESULTS, ["pacs"])
        yield made


def test_what_was_sent_is_committed_on_the_association_that_asked(box: Outbox) -> None:
    with pacs("commits here") as (peer, to):
        node = Node(box, to)
        assert node.deliverer.deliver_due() == DeliveryTally(sent=2)
        assert node.states() == [S.OWED, S.OWED]
        assert node.asker.ask_due() == 2
        assert node.states() == [S.COMMITTED, S.COMMITTED]
        assert node.asker.ask_due() == 0
    assert [sorted(uid for _, uid in named) for _, named in peer.requests] == [
        sorted(result.sop_instance_uid for result in RESULTS)
    ]


def test_the_report_may_come_hours_later_to_our_listener(box: Outbox, tmp_path: Path) -> None:
    with pacs("reports later") as (peer, to), listening(tmp_path, database=box.database) as here:
        node = Node(box, to, wait_s=0)
        node.deliverer.deliver_due()
        node.asker.ask_due()
        assert node.states() == [S.ASKED, S.ASKED]
        box.clock.advance(9 * 3600)
        node.asker.ask_due()
        first, second = peer.requests
        assert first[0] != second[0]
        assert send_report(here.address, "PACS", replace(peer.report(), transaction_uid=first[0])) == ""
        assert send_report(here.address, "PACS", peer.report()) == ""
        stranger = replace(peer.report(), transaction_uid="1.2.3.4")
        assert send_report(here.address, "PACS", stranger) == "report status 0x0115"
    assert node.states() == [S.COMMITTED, S.COMMITTED]


def test_what_is_denied_is_sent_again_once_and_then_shown(box: Outbox) -> None:
    with pacs("denies here") as (peer, to):
        node = Node(box, to)
        for _ in range(3):
            node.deliverer.deliver_due()
            node.asker.ask_due()
    assert (len(peer.stored), len(set(peer.stored)), len(peer.requests)) == (4, 2, 2)
    assert node.states() == [S.FAILED, S.FAILED]
    assert node.reasons() == {"no such object instance, 0x0112"}
    assert [state for *_, state in box.states()] == ["sent", "sent"]


@pytest.mark.parametrize(
    ("manner", "reason"),
    [("without the service", "SOP class not supported"), ("refuses the request", "0x0124")],
)
def test_a_peer_that_never_will_is_not_asked_again(box: Outbox, manner: str, reason: str) -> None:
    with pacs(manner) as (peer, to):
        node = Node(box, to)
        assert node.deliverer.deliver_due() == DeliveryTally(sent=2)
        node.asker.ask_due()
        assert node.states() == [S.UNCONFIRMED, S.UNCONFIRMED]
        assert all(reason in text for text in node.reasons())
        assert node.asker.ask_due() == 0
        assert len(peer.requests) <= 1


def test_a_peer_that_is_away_is_asked_when_it_is_back_and_silence_ends(box: Outbox) -> None:
    with pacs("says nothing") as (peer, to):
        node = Node(box, to, wait_s=0)
        node.deliverer.deliver_due()
        away = CommitmentAsker(node.commitments, [replace(to, port=1)], "BTNODE", clock=box.clock)
        assert away.ask_due() == 2
        assert node.states() == [S.OWED, S.OWED]
        assert all("no association" in text for text in node.reasons())
        assert node.asker.ask_due() == 0
        box.clock.advance(60)
        assert node.asker.ask_due() == 2
        for _ in range(4):
            box.clock.advance(6 * 3600)
            node.asker.ask_due()
        assert len(peer.requests) == 4
    assert node.states() == [S.UNCONFIRMED, S.UNCONFIRMED]
    assert [state for *_, state in box.states()] == ["sent", "sent"]


# As provider: peers ask us about what they sent.


@pytest.fixture(params=[False, True], ids=["pynetdicom", "fast"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path, fast=request.param) as node:
        yield node


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return SERIES.write(tmp_path / "series")


def references(files: list[Path]) -> list[tuple[str, str]]:
    items = [outgoing_file(path) for path in files]
    return [(item.sop_class_uid, item.sop_instance_uid) for item in items]


def ask(here: Listener, transaction_uid: str, named: list[tuple[str, str]], *, wait_s: float) -> list[Dataset]:
    """Ask as a modality that waits on its association; what it was told there."""
    told: list[Dataset] = []
    came = threading.Event()

    def take(event: evt.Event) -> tuple[int, None]:
        told.append(event.event_information)
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, take), exchange.when_answered(came)]
    with association(here.address, "CT1", [(PUSH_MODEL, None)], handlers=handlers, peer_may_ask=True) as peer:
        assert exchange.send_request(peer, transaction_uid, named, timeout_s=10) == 0x0000
        came.wait(wait_s)
    return told


def uids(dataset: Dataset, keyword: str) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in dataset.get(keyword, [])]


def test_a_modality_that_waits_is_told_on_its_association(here: Listener, files: list[Path]) -> None:
    sent = DicomSender(here.address, "CT1").send([outgoing_file(path) for path in files])
    assert {outcome.verdict for outcome in sent} == {Verdict.SENT}
    (told,) = ask(here, "1.2.9.1", references(files), wait_s=10)
    assert (told.TransactionUID, uids(told, "ReferencedSOPSequence")) == ("1.2.9.1", [u for _, u in references(files)])
    assert "FailedSOPSequence" not in told
    for _ in range(50):
        if here.requests.get(1).state is ReportState.ANSWERED:
            break
        threading.Event().wait(0.05)
    assert here.requests.due() == []


def answers(here: Listener, clock: Clock, report_to: dict[str, Destination]) -> CommitmentAnswers:
    return CommitmentAnswers(
        here.requests, here.holdings, report_to, "BTNODE", policy=BackoffPolicy(first_retry_s=60), clock=clock
    )


def test_what_is_missing_changed_or_of_another_class_is_denied(tmp_path: Path, files: list[Path]) -> None:
    clock = SteppedClock()
    with listening(tmp_path, clock=clock, linger_s=0) as here, outbox(tmp_path) as box:
        DicomSender(here.address, "CT1").send([outgoing_file(path) for path in files])
        named = references(files)
        rows = {
            row.sop_instance_uid: row for row in here.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))
        }
        here.files.abspath(rows[named[0][1]].path).write_bytes(b"other")
        wrong = [*named[:2], ("1.2.840.10008.5.1.4.1.1.2", named[2][1]), (named[0][0], "1.2.777")]
        assert ask(here, "1.2.9.2", wrong, wait_s=0.3) == []
        # The worker: at first what is missing may still be on its way, later it is missing.
        with listening_for_reports(box) as (told, modality):
            sending = answers(here, clock, {"CT1": modality})
            while here.requests.get(1).next_attempt_at > clock():
                clock.advance(1)
            assert sending.answer_due() == 0
            clock.advance(31)
            assert sending.answer_due() == 1
        assert here.requests.get(1).state is ReportState.ANSWERED
    assert uids(told[0], "ReferencedSOPSequence") == [named[1][1]]
    failed = {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in told[0].FailedSOPSequence}
    assert failed == {named[0][1]: 0x0110, named[2][1]: 0x0119, "1.2.777": 0x0112}


@contextmanager
def listening_for_reports(box: Outbox) -> Iterator[tuple[list[Dataset], Destination]]:
    """A modality that takes reports at its own listener."""
    told: list[Dataset] = []

    def take(event: evt.Event) -> tuple[int, None]:
        told.append(event.event_information)
        return 0x0000, None

    ae = AE(ae_title="CT1")
    ae.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    try:
        yield told, destination(server.server_address[1], name="CT1", ae_title="CT1")
    finally:
        server.shutdown()


def test_an_answer_that_nobody_takes_survives_a_restart(tmp_path: Path, files: list[Path]) -> None:
    clock = SteppedClock()
    with listening(tmp_path, clock=clock, linger_s=5) as here:
        DicomSender(here.address, "CT1").send([outgoing_file(path) for path in files])
        assert ask(here, "1.2.9.3", references(files), wait_s=0) == []
        clock.advance(60)
        nowhere = answers(here, clock, {})
        assert nowhere.answer_due() == 0
        assert "commitment.report_to" in here.requests.get(1).last_error
    with listening(tmp_path, clock=clock) as again, outbox(tmp_path) as box:
        clock.advance(3600)
        with listening_for_reports(box) as (told, modality):
            assert answers(again, clock, {"CT1": modality}).answer_due() == 1
        clock.advance(timedelta(days=9).total_seconds())
        assert again.requests.due() == []
    assert uids(told[0], "ReferencedSOPSequence") == [uid for _, uid in references(files)]


def test_requests_without_sense_are_refused(here: Listener) -> None:
    def status(dataset: Dataset, action: int = 1, instance: str = PUSH_MODEL_INSTANCE) -> int:
        with association(here.address, "CT1", [(PUSH_MODEL, None)]) as peer:
            answer, _ = peer.send_n_action(dataset, action, PUSH_MODEL, instance)
        return int(answer.Status)

    right = request_dataset("1.2.9.4", [("1.2.1", "1.2.3")])
    assert status(right, action=2) == 0x0123
    assert status(right, instance="1.2.3") == 0x0112
    assert status(request_dataset("1.2.9.5", [])) == 0x0115
    assert status(request_dataset("", [("1.2.1", "1.2.3")])) == 0x0115


# Orthanc, both ways.


def test_orthanc_commits_itself_to_our_results(box: Outbox, tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    with listening(tmp_path, database=box.database) as here:
        modality = Modality(name="node", ae_title="BTNODE", port=here.address.port)
        with OrthancServer(debian_tool("Orthanc"), tmp_path, modalities=[modality]) as orthanc:
            node = Node(box, destination(orthanc.dicom_port, ae_title=orthanc.ae_title), wait_s=0)
            assert node.deliverer.deliver_due() == DeliveryTally(sent=2)
            node.asker.ask_due()
            orthanc.wait_for(lambda _: node.states() == [S.COMMITTED, S.COMMITTED], timeout_s=20)


def test_orthanc_asks_us_and_is_told(tmp_path: Path, files: list[Path], debian_tool: Callable[[str], str]) -> None:
    with listening(tmp_path) as here:
        modality = Modality(name="node", ae_title="BTNODE", port=here.address.port)
        with OrthancServer(debian_tool("Orthanc"), tmp_path, modalities=[modality]) as orthanc:
            orthanc.store(files)
            answer = orthanc.post(
                "/modalities/node/store",
                {"Resources": orthanc.instances(), "Synchronous": True, "StorageCommitment": True},
            )
            transaction = answer["StorageCommitmentTransactionUID"]
            reporting = answers(here, utc_now, {"TESTPACS": destination(orthanc.dicom_port, ae_title="TESTPACS")})

            def told(_: OrthancServer) -> bool:
                reporting.answer_due()
                return bool(orthanc.get(f"/storage-commitment/{transaction}")["Status"] == "Success")

            orthanc.wait_for(told, timeout_s=20)
            report = orthanc.get(f"/storage-commitment/{transaction}")
    assert len(report["Success"]) == len(files)
    assert not report["Failures"]
    assert dcmread(files[0]).SOPInstanceUID in {item["SOPInstanceUID"] for item in report["Success"]}
