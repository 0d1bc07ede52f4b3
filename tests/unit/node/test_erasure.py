"""Erasing a patient: nothing of them is left, nobody else is touched, and the receipt can be held to the trail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicom_node.config import NodeConfig
from dicom_node.erasure import ErasureRefused, Receipt, ReceiptInvalid, erase_patient, pseudonym, verify_receipt
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.store import Store, open_store
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

    def receive(self, series: MrSeries, patient_id: str = PATIENT, name: str = NAME) -> None:
        for dataset in series.datasets:
            dataset.PatientID, dataset.PatientName = patient_id, name
        for dataset, path in zip(series.datasets, series.write(self.source), strict=True):
            syntax, data = split_part10(path.read_bytes())
            claim = Claim(
                sop_class_uid=str(dataset.SOPClassUID),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                transfer_syntax_uid=syntax,
            )
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


def test_what_is_left_elsewhere_is_named(node: Node) -> None:
    node.analysed(mr_series(slices=2))
    node.store.files.root.joinpath("spool", "forgotten.txt").write_text(f"of {PATIENT}")
    receipt = node.erase()
    assert receipt.left == ("spool/forgotten.txt",)
    assert not receipt.clean
