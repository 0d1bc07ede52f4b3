"""A study waits for what a listener answered and has not filed: real journal, rows and intake, a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.fast.indexer import Indexer
from dicom_node.inbound.fast.journal_store import JournalStore, index_left_behind
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.receiver_report import ReceiverReport
from dicom_node.intake import Intake, Jobs
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.lifecycle import ScanState
from storage.receivers import ReceiverRepository, Sender
from storage.requests import RequestRepository
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from tests.outbox import SteppedClock
from tests.unit.inbound.fast_objects import claim, data_set

NO_JOBS = Jobs(submit=lambda run: None, gave_up=lambda run: None)


class Node:
    """One listener whose indexer works when told to, and the intake of a worker."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock(datetime(2026, 1, 1, tzinfo=UTC))
        url = f"sqlite:///{folder}/node.db"
        upgrade(url)
        self.database = Database(url)
        self.files = FileStore(folder / "root", min_free_bytes=0)
        self.studies = StudyRepository(self.database, self.clock)
        self.ingest = Ingest(self.files, self.studies, AuditRepository(self.database, self.clock))
        self.journal = JournalStore(self.files, self.ingest, segment_bytes=4 << 20, clock=self.clock)
        self.indexer = Indexer(self.journal.journal.folder, self.ingest, 1)
        receivers = ReceiverRepository(self.database)
        self.senders: dict[str, Sender] = {}
        self.report = ReceiverReport(
            receivers,
            self.journal.name,
            associations=lambda: 0,
            backlog_bytes=self.journal.backlog_bytes,
            pressure=lambda: "",
            filed_through=self.journal.filed_through,
            senders=lambda: self.senders,
            clock=self.clock,
        )
        self.scans = ScanRepository(self.database, self.clock)
        self.intake = Intake(
            studies=self.studies,
            scans=self.scans,
            requests=RequestRepository(self.database, self.clock),
            deliveries=DeliveryRepository(self.database, self.clock),
            files=self.files,
            jobs=NO_JOBS,
            policy=AssemblyPolicy(),
            model_digest=lambda: "",
            receivers=receivers.all,
            clock=self.clock,
        )

    def receive(self, number: int) -> None:
        assert self.journal.begin_reception().store(data_set(number), claim(number)).status == 0

    def look(self, seconds: float, *, reported: bool = True) -> ScanRow:
        """The scan after `seconds`, as the intake leaves it."""
        self.clock.advance(seconds)
        if reported:
            self.report._write()
        self.intake.tick()
        scan = self.scans.by_study("1.2.3")
        assert scan is not None
        return scan


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    made.receive(1)
    assert made.indexer.step()
    made.receive(2)
    yield made
    made.indexer._reader.close()
    made.journal.close()
    made.database.close()


def test_a_study_is_not_judged_while_a_live_listener_has_something_to_file(node: Node) -> None:
    for _ in range(10):
        scan = node.look(300)
        assert (scan.status, scan.waiting_for.split("; ")[-1]) == (
            ScanState.ASSEMBLING,
            "1 object received and not yet filed",
        )
    assert node.indexer.step()
    assert "not yet filed" not in (node.look(299).waiting_for or "")
    # The four series it would wait for never come: judged once, 300 s after its last row, with both objects.
    assert node.look(1).status is ScanState.INELIGIBLE
    assert len(node.studies.instances_of("1.2.3")) == 2


def test_a_listener_that_died_is_waited_for_a_minute_and_its_journal_amends_the_study(node: Node) -> None:
    assert node.look(250).status is ScanState.ASSEMBLING
    scan = node.look(59, reported=False)
    assert scan.waiting_for is not None
    assert scan.waiting_for.endswith("receiver-0 has been silent for 59 s, waited for until 60 s")
    assert node.look(1, reported=False).status is ScanState.INELIGIBLE
    node.journal._held.close()  # as a kill would
    index_left_behind(node.files, node.ingest)
    assert node.look(1, reported=False).status is ScanState.ASSEMBLING
    assert len(node.studies.instances_of("1.2.3")) == 2


def test_a_listener_that_stopped_with_all_filed_is_waited_for_no_longer(node: Node) -> None:
    assert node.indexer.step()
    node.look(250)
    node.report.say_last()
    assert node.look(50, reported=False).status is ScanState.INELIGIBLE


def test_a_sender_is_waited_for_until_it_leaves_or_brings_another_study(node: Node) -> None:
    assert node.indexer.step()
    node.senders = {"MODALITY": Sender(open_since=node.clock() - timedelta(seconds=5)), "OTHER": Sender()}
    assert node.look(30).waiting_for.split("; ")[-1] == "MODALITY is still connected"
    other = data_set(3).replace(b"1.2.3\0", b"1.2.9\0").replace(b"1.2.3.4\0", b"1.2.9.4\0")
    assert node.journal.begin_reception().store(other, claim(3)).status == 0
    assert node.indexer.step()
    assert "connected" not in (node.look(30).waiting_for or "")
    node.senders = {}
    assert "connected" not in (node.look(30).waiting_for or "")


def test_a_sender_that_broke_off_before_the_rows_came_is_waited_for(node: Node) -> None:
    node.clock.advance(0.3)
    broken_at = node.clock()
    node.senders = {"MODALITY": Sender(broken_at=broken_at)}
    node.clock.advance(1.5)
    assert node.indexer.step()
    assert node.studies.study("1.2.3").last_received_at > broken_at
    assert "MODALITY broke off" in node.look(30).waiting_for
