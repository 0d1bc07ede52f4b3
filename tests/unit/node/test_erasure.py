"""Erasing a patient: nothing of them is left, nobody else is touched, and the receipt can be held to the trail."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node import erasure
from dicom_node.cli import application
from dicom_node.config import NodeConfig
from dicom_node.erasure import ErasureRefused, Receipt, ReceiptInvalid, erase_patient, pseudonym, verify_receipt
from dicom_node.filed_journals import remove_filed_journals
from dicom_node.housekeeping import scrub_of
from dicom_node.inbound.answers import SUCCESS
from dicom_node.inbound.fast.indexer import Indexer
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.store import Store, open_store
from storage.clock import utc_now
from storage.errors import StorageFault
from storage.holds import HoldRepository
from storage.lifecycle import ScanEvent
from storage.pacs_answers import PacsAnswerRepository
from storage.vocabulary import PacsAnswerState, RunState, Source
from tests.mr_series import MrSeries, mr_series
from tests.unit.storage.postgres_server import empty_database, postgres_server, require_postgres

SECRET = "s" * 40
NAME, PATIENT = "Canary^Karla", "CANARY-0815"


class Node:
    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        storage = {"root": folder / "root", "min_free_mb": 0, "database_url": database_url}
        self.config = NodeConfig(storage=storage)  # type: ignore[arg-type]
        self.store: Store = open_store(self.config)
        self.ingest = Ingest(self.store.files, self.store.studies, self.store.audit)
        self.source = folder / "source"

    def objects(self, series: MrSeries, patient_id: str = PATIENT, name: str = NAME) -> Iterator[tuple[bytes, Claim]]:
        for dataset in series.datasets:
            dataset.PatientID, dataset.PatientName = patient_id, name
        for dataset, path in zip(series.datasets, series.write(self.source), strict=True):
            syntax, data = split_part10(path.read_bytes())
            claim = Claim(
                sop_class_uid=str(dataset.SOPClassUID),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                transfer_syntax_uid=syntax,
            )
            yield data, claim

    def receive(self, series: MrSeries, patient_id: str = PATIENT, name: str = NAME) -> None:
        for data, claim in self.objects(series, patient_id, name):
            self.ingest.receive(data, claim)

    def analysed(self, series: MrSeries, patient_id: str = PATIENT, name: str = NAME) -> str:
        """Received, analysed, done; the scan's id."""
        self.receive(series, patient_id, name)
        uid = str(series.datasets[0].StudyInstanceUID)
        PacsAnswerRepository(self.store.database).keep(uid, "pacs", PacsAnswerState.UNKNOWN, reason="none")
        scan = self.store.scans.by_study(uid)
        assert scan is not None
        self.store.scans.apply_event(scan.id, ScanEvent.COMPLETE)
        run = self.store.scans.start_run(scan.id, ["1"], "m")
        self.store.files.write_result(run.id, "report.html", f"<p>{name}</p>".encode())
        self.store.scans.set_results(scan.id, {"subject": name})
        self.store.scans.apply_event(scan.id, ScanEvent.ANALYSED)
        self.store.scans.finish_run(run.id, RunState.DONE)
        self.store.scans.apply_event(scan.id, ScanEvent.REPORTED)
        self.store.scans.apply_event(scan.id, ScanEvent.DELIVERED)
        return scan.id

    def erase(self, **changes: Any) -> Receipt:
        told: dict[str, Any] = {"patient_id": PATIENT, "issuer": None, "by": "ada", "at": datetime.now(UTC)}
        told |= {"secret": SECRET, "rows_url": self.config.storage.rows_url, "software_version": "1"}
        return erase_patient(self.store, **told | changes)

    def places_of(self, word: str) -> list[str]:
        """Files that hold a word, by a search of the test's own."""
        paths = [path for path in self.store.files.root.rglob("*") if path.is_file()]
        return [path.name for path in paths if word.encode() in path.read_bytes()]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.store.database.close()


@pytest.fixture
def node_on_postgres(tmp_path: Path) -> Iterator[Node]:
    require_postgres()
    with postgres_server() as server:
        node = Node(tmp_path, empty_database(server, "erasure"))
        yield node
        node.store.database.close()


@pytest.mark.parametrize("database", ["node", "node_on_postgres"])
def test_nothing_of_the_patient_is_left_and_others_stay(database: str, request: pytest.FixtureRequest) -> None:
    node: Node = request.getfixturevalue(database)
    first, second = node.analysed(mr_series(slices=3)), node.analysed(mr_series(slices=2, study="2"))
    other = node.analysed(mr_series(slices=2, study="3"), "OTHER-1", "Other^Otto")
    upload = node.store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_name=NAME, patient_id=PATIENT)
    node.store.files.upload_folder(upload.id).joinpath("t1.nii").write_text(NAME)
    for event in (ScanEvent.COMPLETE, ScanEvent.FAIL):
        node.store.scans.apply_event(upload.id, event)
    node.receive(mr_series(slices=1, study="3"), PATIENT)  # under the other's study: kept apart
    assert node.places_of("Canary") != []

    receipt = node.erase()

    assert receipt.clean, receipt.left
    assert set(receipt.scans) == {first, second, upload.id}
    assert node.places_of("Canary") == node.places_of(PATIENT) == []
    kept = node.store.scans.get(other)
    assert (kept.patient_name, kept.erased_at) == ("Other^Otto", None)
    assert node.places_of("Otto") != []


def test_the_receipt_names_a_pseudonym_and_stands_in_the_trail(node: Node, tmp_path: Path) -> None:
    node.analysed(mr_series(slices=2))
    receipt = node.erase()
    told = receipt.to_json()
    assert PATIENT not in told
    assert receipt.patient_pseudonym == pseudonym(SECRET, f" {PATIENT} ") != pseudonym("t" * 40, PATIENT)
    assert Receipt.from_json(told) == receipt
    verify_receipt(node.store, receipt)
    with pytest.raises(ReceiptInvalid, match="changed"):
        verify_receipt(node.store, replace(receipt, scans=()))
    with pytest.raises(ReceiptInvalid, match="no entry"):
        verify_receipt(node.store, replace(receipt, by="eve").sealed())
    with pytest.raises(ReceiptInvalid, match="not a receipt"):
        Receipt.from_json(json.dumps({"by": "eve"}))


def test_a_hold_or_work_under_way_stops_all_of_it(node: Node) -> None:
    scan_id = node.analysed(mr_series(slices=2))
    node.receive(mr_series(slices=2, study="2"))
    with pytest.raises(ErasureRefused, match="'received'"):
        node.erase()
    assert node.store.scans.get(scan_id).deleted_at is None
    HoldRepository(node.store.database).place(scan_id, whole_patient=False, reason="court", by="ada")
    with pytest.raises(ErasureRefused, match="hold"):
        node.erase()
    with pytest.raises(ErasureRefused, match="nobody"):
        node.erase(patient_id="UNKNOWN")


def test_what_was_kept_aside_of_a_damaged_image_goes_too(node: Node) -> None:
    series = mr_series(slices=2)
    node.analysed(series)
    row = node.store.studies.instances_of(str(series.datasets[0].StudyInstanceUID))[0]
    path = node.store.files.abspath(row.path)
    path.write_bytes(path.read_bytes() + b"damage")
    scrub_of(node.config, node.store, lambda run_id: {}, utc_now).all()
    assert any(name.endswith(".damaged") for name in node.places_of(PATIENT))
    assert node.erase().clean
    assert node.places_of(PATIENT) == []


def test_what_is_left_elsewhere_is_named(node: Node) -> None:
    node.analysed(mr_series(slices=2))
    node.store.files.root.joinpath("spool", "forgotten.txt").write_text(f"of {PATIENT}")
    receipt = node.erase()
    assert receipt.left == ("spool/forgotten.txt",)
    assert not receipt.clean


@pytest.fixture
def goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Paths that go away once the search has listed them, or is about to."""
    gone: list[Path] = []
    opens, lists = Path.open, os.scandir

    def opened(path: Path, *args: Any, **options: Any) -> Any:
        if path in gone:
            path.unlink(missing_ok=True)
        return opens(path, *args, **options)

    def listed(path: Any) -> Any:
        if not isinstance(path, int) and Path(path) in gone:
            shutil.rmtree(path)
        return lists(path)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "scandir", listed)
    yield gone
    monkeypatch.undo()


def test_a_node_at_work_does_not_cost_the_receipt(node: Node, goes_meanwhile: list[Path]) -> None:
    scan_id = node.analysed(mr_series(slices=2))
    folder = node.store.files.run_folder("another-run")
    received = node.store.files.root / "spool" / "1.part"
    for path in (received, folder / "seg.dcm"):
        path.write_text(PATIENT)
    goes_meanwhile += [received, folder]
    receipt = node.erase()
    assert (receipt.left, receipt.scans) == ((), (scan_id,))
    assert not received.exists()
    assert not folder.exists()


def test_a_word_is_found_where_two_reads_of_a_file_meet(node: Node) -> None:
    node.analysed(mr_series(slices=2))
    meets = node.store.files.root / "spool" / "large"
    meets.write_bytes(bytes((1 << 20) - 3) + PATIENT.encode())
    (node.store.files.root / "spool" / "empty").touch()
    assert node.erase().left == ("spool/large",)


def test_an_erasure_that_was_cut_off_is_done_anew(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.analysed(mr_series(slices=2))
    with monkeypatch.context() as cut:
        cut.setattr(erasure, "_search", Mock(side_effect=StorageFault("the disk is gone")))
        with pytest.raises(StorageFault):
            node.erase()
    forgotten = node.store.files.root / "spool" / "forgotten.txt"
    forgotten.write_text(f"of {PATIENT}")
    again = node.erase()
    assert (again.scans, again.left) == ((), ("spool/forgotten.txt",))
    assert again.not_searched == "names and study UIDs that an earlier erasure removed"
    forgotten.unlink()
    last = node.erase()
    assert last.clean
    for receipt in (again, last):
        verify_receipt(node.store, receipt)
    told = str([(entry.text, entry.data) for entry in node.store.audit.list()])
    assert PATIENT not in told
    with pytest.raises(ErasureRefused, match="nobody"):
        node.erase(patient_id="UNKNOWN")


@contextmanager
def listening(node: Node, *objects: tuple[bytes, Claim]) -> Iterator[None]:
    """While a listener runs that has received and filed these objects."""
    journal = JournalStore(node.store.files, node.ingest, segment_bytes=4 << 20)
    journal.start()
    for data, claim in objects:
        assert journal.begin_reception().store(data, claim).status == SUCCESS
    assert journal.settle(20)
    yield
    journal.close()


def stopped_at_once(node: Node, *objects: tuple[bytes, Claim]) -> Path:
    """A listener that received these objects and ended before it filed them; its one segment."""
    journal = JournalStore(node.store.files, node.ingest, segment_bytes=4 << 20)
    for data, claim in objects:
        assert journal.begin_reception().store(data, claim).status == SUCCESS
    journal.close()
    (segment,) = node.store.files.root.glob("spool/receiver-0/*.journal")
    return segment


def test_what_a_listeners_journal_holds_goes_when_it_is_stopped(node: Node) -> None:
    series = mr_series(slices=3)
    journal = "spool/receiver-0/0000.journal"
    with listening(node, *node.objects(series)):
        node.analysed(series)
        assert node.erase().left == (journal,)
    with listening(node):
        assert node.erase().left == (journal,)  # a listener that is started again leaves what is there
    assert node.erase().clean
    assert node.places_of(PATIENT) == []
    other = mr_series(slices=2, study="2")
    with listening(node, *node.objects(other, "OTHER-1")):
        assert len(node.store.studies.instances_of(str(other.datasets[0].StudyInstanceUID))) == 2


def test_a_journal_with_an_object_that_is_not_filed_yet_stays(node: Node) -> None:
    stopped_at_once(node, *node.objects(mr_series(slices=2)))
    node.analysed(mr_series(slices=2, study="2"))
    assert node.erase().left == ("spool/receiver-0/0000.journal",)
    with listening(node):
        pass  # it files what was left
    assert len(node.store.studies.instances_of(str(mr_series().datasets[0].StudyInstanceUID))) == 2


def test_an_object_behind_damage_in_a_journal_is_not_lost(node: Node) -> None:
    segment = stopped_at_once(node, *node.objects(mr_series(slices=3)))
    second = segment.read_bytes().index(b"BTJR", 100)
    with segment.open("r+b") as stream:
        stream.seek(second + 8)
        stream.write(b"damage")
    Indexer(segment.parent, node.ingest, 1 << 62).run(lambda: True)  # comes as far as the damage
    assert remove_filed_journals(node.store.files) == 0
    with listening(node):
        pass
    assert len(node.store.studies.instances_of(str(mr_series().datasets[0].StudyInstanceUID))) == 2


@pytest.fixture
def erase_by_command(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Result]:
    """Give the command with a file for the receipt."""
    config = tmp_path / "config.yaml"
    config.write_text(f"storage: {{root: {tmp_path / 'root'}, min_free_mb: 0}}\n")
    monkeypatch.setenv("BTN_WEB__SECRET", SECRET)

    def give(receipt: Path) -> Result:
        arguments = ["erase-patient", str(receipt), "--by", "ada", "--config", str(config)]
        return CliRunner().invoke(application(), arguments, input=f"{PATIENT}\n")

    return give


def test_nothing_goes_where_the_receipt_cannot_be_made(
    node: Node, tmp_path: Path, erase_by_command: Callable[[Path], Result]
) -> None:
    scan_id = node.analysed(mr_series(slices=2))
    there = tmp_path / "there.json"
    there.write_text("{}")
    for receipt in (there, tmp_path / "no folder" / "receipt.json"):
        refused = erase_by_command(receipt)
        assert isinstance(refused.exception, ErasureRefused)
    assert there.read_text() == "{}"
    assert node.store.scans.get(scan_id).erased_at is None
    receipt = tmp_path / "receipt.json"
    HoldRepository(node.store.database).place(scan_id, whole_patient=False, reason="court", by="ada")
    assert isinstance(erase_by_command(receipt).exception, ErasureRefused)
    assert not receipt.exists()


def test_the_command_may_be_given_again(node: Node, tmp_path: Path, erase_by_command: Callable[[Path], Result]) -> None:
    node.analysed(mr_series(slices=2))
    for name in ("first.json", "second.json"):
        done = erase_by_command(tmp_path / name)
        assert done.exit_code == 0, done.output
        verify_receipt(node.store, Receipt.from_json((tmp_path / name).read_text()))
