"""Reception, indexing and restarts of the journal, on a real store."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.inbound.answers import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, OUT_OF_RESOURCES, SUCCESS
from dicom_node.inbound.fast import index_process, indexer, indexing
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.parsing import split_part10
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.errors import NotFound, StorageUnavailable
from storage.files import FileStore
from storage.studies import StudyRepository
from tests.unit.inbound.fast_objects import claim, data_set

#: Sequences nested deeper than any parser follows.
NESTED = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000


@dataclass(kw_only=True)
class Node:
    url: str
    files: FileStore
    studies: StudyRepository
    audit: AuditRepository
    ingest: Ingest

    def journal(self, **options) -> JournalStore:
        return JournalStore(self.files, self.ingest, segment_bytes=4 << 20, **options)

    def numbers(self) -> list[int]:
        try:
            rows = self.studies.instances_of("1.2.3")
        except NotFound:
            return []
        return sorted(int(row.sop_instance_uid.rpartition(".")[2]) for row in rows)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def node(tmp_path: Path, empty_database: Path) -> Iterator[Node]:
    shutil.copy(empty_database, tmp_path / "node.db")
    url = f"sqlite:///{tmp_path}/node.db"
    database = Database(url)
    files, studies, audit = (
        FileStore(tmp_path / "root", min_free_bytes=0),
        StudyRepository(database),
        AuditRepository(database),
    )
    yield Node(url=url, files=files, studies=studies, audit=audit, ingest=Ingest(files, studies, audit))
    database.close()


@pytest.fixture
def started(node: Node) -> Iterator[JournalStore]:
    journal = node.journal()
    journal.start()
    yield journal
    journal.close()


def test_objects_become_files_and_rows_bit_for_bit(node: Node, started: JournalStore) -> None:
    reception = started.begin_reception()
    for number in range(40):
        assert reception.store(data_set(number), claim(number)).status == SUCCESS
    assert started.settle(20)
    assert node.numbers() == list(range(40))
    for row in node.studies.instances_of("1.2.3"):
        number = int(row.sop_instance_uid.rpartition(".")[2])
        assert split_part10(node.files.read(row.path))[1] == data_set(number)
        assert node.files.verify(row.path, row.sha256)
        assert row.calling_ae == "MODALITY"


def test_the_indexer_gives_way_to_objects_that_come_in_but_not_for_ever(
    node: Node, started: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_s = 1e9
    monkeypatch.setattr(indexer, "_FLOWING_S", always_s)
    monkeypatch.setattr(indexer, "_GIVES_WAY_S", always_s)
    reception = started.begin_reception()
    assert reception.store(data_set(1), claim(1)).status == SUCCESS
    assert not started.settle(1)
    assert started.filed_through()[1] == 1
    monkeypatch.setattr(indexer, "_GIVES_WAY_S", 0.2)
    assert started.settle(20)
    monkeypatch.setattr(indexer, "_GIVES_WAY_S", always_s)
    assert reception.store(data_set(2), claim(2)).status == SUCCESS
    assert not started.settle(0.5)
    monkeypatch.setattr(indexer, "_FLOWING_S", 0.1)
    assert started.settle(20)
    assert node.numbers() == [1, 2]


@pytest.mark.parametrize("pixel_bytes", [(1 << 20) - 400, 1 << 20, (5 << 20) // 2])
def test_large_objects_are_kept_in_a_file_of_their_own(node: Node, started: JournalStore, pixel_bytes: int) -> None:
    data = data_set(7, pixel_bytes=pixel_bytes)
    assert started.begin_reception().store(data, claim(7)).status == SUCCESS
    assert started.settle(20)
    (row,) = node.studies.instances_of("1.2.3")
    assert split_part10(node.files.read(row.path))[1] == data
    deadline = time.monotonic() + 5
    while list((node.files.root / "spool").rglob("*.object")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((node.files.root / "spool").rglob("*.object")) == []


def test_a_duplicate_is_one_row_and_other_bytes_are_kept_apart(node: Node, started: JournalStore) -> None:
    reception = started.begin_reception()
    for data in (data_set(1), data_set(1), data_set(1, pixel_bytes=2000)):
        assert reception.store(data, claim(1)).status == SUCCESS
    assert started.settle(20)
    assert node.numbers() == [1]
    assert [event.kind for event in node.audit.list()].count("conflict") == 1


@pytest.mark.parametrize("pixel_bytes", [1000, 2 << 20])
def test_an_object_that_is_not_what_its_command_says_is_refused_and_quarantined(
    node: Node, started: JournalStore, pixel_bytes: int
) -> None:
    answered = started.begin_reception().store(data_set(1, pixel_bytes=pixel_bytes), claim(2))
    assert answered.status == DATA_SET_MISMATCH
    assert started.begin_reception().store(NESTED, claim(3)).status == CANNOT_UNDERSTAND
    assert started.settle(20)
    assert node.numbers() == []
    assert len(list((node.files.root / "uploads/quarantine").iterdir())) == 2


def test_what_breaks_behind_its_uids_is_acknowledged_and_quarantined_when_indexed(
    node: Node, started: JournalStore
) -> None:
    broken = data_set(1)[:62] + NESTED
    reception = started.begin_reception()
    assert reception.store(broken, claim(1)).status == SUCCESS
    assert reception.store(data_set(2), claim(2)).status == SUCCESS
    assert started.settle(20)
    assert node.numbers() == [2]
    assert "quarantined" in [event.kind for event in node.audit.list()]


@pytest.mark.parametrize("pixel_bytes", [1000, 2 << 20])
def test_a_full_disk_is_out_of_resources_and_passes(node: Node, started: JournalStore, pixel_bytes: int) -> None:
    node.files._min_free_bytes = 1 << 60
    reception = started.begin_reception()
    assert reception.store(data_set(1, pixel_bytes=pixel_bytes), claim(1)).status == OUT_OF_RESOURCES
    node.files._min_free_bytes = 0
    assert reception.store(data_set(1, pixel_bytes=pixel_bytes), claim(1)).status == SUCCESS
    assert started.settle(20)
    assert node.numbers() == [1]


def test_objects_wait_while_the_database_is_away(
    node: Node, started: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(records: object) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(node.studies, "record_instances", away)
        assert started.begin_reception().store(data_set(1), claim(1)).status == SUCCESS
        assert not started.settle(0.3)
    assert started.settle(20)
    assert node.numbers() == [1]


def test_one_object_no_rule_foresaw_does_not_hold_up_the_others(
    node: Node, started: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = node.ingest._file

    def trips(source: bytes | Path, said):
        if said.sop_instance_uid.endswith(".2"):
            raise ZeroDivisionError
        return file(source, said)

    monkeypatch.setattr(node.ingest, "_file", trips)
    reception = started.begin_reception()
    for number in (1, 2, 3):
        assert reception.store(data_set(number), claim(number)).status == SUCCESS
    assert started.settle(20)
    assert node.numbers() == [1, 3]
    assert len(list((node.files.root / "uploads/quarantine").iterdir())) == 1


def test_what_a_stopped_receiver_left_is_indexed_by_the_next_one(node: Node) -> None:
    first = node.journal()
    reception = first.begin_reception()
    for number in range(3):
        assert reception.store(data_set(number, pixel_bytes=(2 << 20) * (number == 1)), claim(number)).status == SUCCESS
    first._held.close()  # as a kill would: nothing was indexed
    first.journal.close()
    (node.files.root / "spool/receiver-0/1-99.object").write_bytes(b"never acknowledged")
    assert node.numbers() == []
    second = node.journal()
    second.start()
    assert second.settle(20)
    assert node.numbers() == [0, 1, 2]
    deadline = time.monotonic() + 5
    while list((node.files.root / "spool").rglob("*.object")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((node.files.root / "spool").rglob("*.object")) == []
    second.close()


def test_two_receivers_share_a_store_and_one_takes_over_what_the_other_left(node: Node) -> None:
    first, second = node.journal(), node.journal()
    assert {first.journal.folder.name, second.journal.folder.name} == {"receiver-0", "receiver-1"}
    assert second.begin_reception().store(data_set(5), claim(5)).status == SUCCESS
    second._held.close()
    second.journal.close()
    first.close()
    third = node.journal()
    assert third.journal.folder.name == "receiver-0"
    assert node.numbers() == [5]
    third.close()


RECEIVER = """
import sys
from pathlib import Path
from dicom_node.inbound.fast import indexer
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from storage.database import Database
from storage.files import FileStore
from storage.studies import StudyRepository
from tests.unit.inbound.fast_objects import claim, data_set

files = FileStore(Path(sys.argv[1]), min_free_bytes=0)
journal = JournalStore(files, Ingest(files, StudyRepository(Database(sys.argv[2]))), segment_bytes=4 << 20)
journal.start()
reception = journal.begin_reception()
for number in range(int(sys.argv[3]), 10**6):
    size = (3 << 19) if number % 10 == 3 else 20_000
    assert reception.store(data_set(number, pixel_bytes=size), claim(number)).status == 0
    print(number, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill_at_any_moment(node: Node) -> None:
    chance, first = random.Random(7), 0
    acknowledged: set[int] = set()
    for _ in range(3):
        command = [sys.executable, "-c", RECEIVER, str(node.files.root), node.url, str(first)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.add(int(process.stdout.readline()))
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        acknowledged |= {int(line) for line in process.communicate()[0].splitlines()}
        first = max(acknowledged) + 1
    journal = node.journal()
    journal.start()
    assert journal.settle(60)
    journal.close()
    kept = node.numbers()
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept)) <= len(acknowledged) + 3
    for row in node.studies.instances_of("1.2.3"):
        assert node.files.verify(row.path, row.sha256)
    assert list((node.files.root / "spool").rglob("*.object")) == []
    node.files.sweep()
    assert node.files.orphans(node.studies.known_paths()) == []


def test_the_indexer_of_its_own_process_is_started_again_when_it_dies(node: Node) -> None:
    journal = node.journal(database_url=node.url)
    journal.start()
    process_id = journal._indexing.process_id  # type: ignore[union-attr]
    subprocess.run(["kill", "-9", str(process_id)], check=True)
    assert journal.begin_reception().store(data_set(1), claim(1)).status == SUCCESS
    assert journal.settle(60)
    assert node.numbers() == [1]
    journal.close()


def test_an_indexer_that_cannot_be_started_at_once_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = node.journal(database_url=node.url)
    journal.start()
    process_id = journal._indexing.process_id  # type: ignore[union-attr]
    real, failures = index_process.start_process, [OSError(errno.ENOMEM, "no memory"), OSError(errno.EAGAIN, "none")]

    def start(*work) -> subprocess.Popen[bytes]:
        if failures:
            raise failures.pop()
        return real(*work)

    monkeypatch.setattr(indexing, "start_process", start)
    subprocess.run(["kill", "-9", str(process_id)], check=True)
    assert journal.begin_reception().store(data_set(1), claim(1)).status == SUCCESS
    assert journal.settle(60)
    assert (node.numbers(), failures) == ([1], [])
    journal.close()


def test_a_receiver_ends_without_an_indexer_that_cannot_be_started(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = node.journal(database_url=node.url)
    journal.start()

    def start(*_work) -> subprocess.Popen[bytes]:
        refused.set()
        raise OSError(errno.EAGAIN, "no process")

    refused = threading.Event()
    monkeypatch.setattr(indexing, "start_process", start)
    subprocess.run(["kill", "-9", str(journal._indexing.process_id)], check=True)  # type: ignore[union-attr]
    assert refused.wait(20)
    assert journal.begin_reception().store(data_set(1), claim(1)).status == SUCCESS
    journal.close()
    later = node.journal()
    later.start()
    assert later.settle(20)
    later.close()
    assert node.numbers() == [1]


def test_receipt_times_are_kept_and_a_study_is_quiet_since_its_last_row(node: Node) -> None:
    journal = node.journal()
    assert journal.begin_reception().store(data_set(1), claim(1)).status == SUCCESS
    time.sleep(0.2)
    journal.start()
    assert journal.settle(20)
    (row,) = node.studies.instances_of("1.2.3")
    (scan,) = node.studies.open_scans()
    study = node.studies.scan_facts(scan.id).study
    assert study is not None
    assert study.first_received_at == row.received_at
    assert (study.last_received_at - row.received_at).total_seconds() >= 0.2
    journal.close()
