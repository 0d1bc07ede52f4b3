"""Files at rest: what changed or went is found, named, kept aside, and comes back."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.inbound.ingest import Claim, Ingest, Taken
from dicom_node.inbound.parsing import split_part10
from dicom_node.scrub import Scrub
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.removals import RemovalRepository
from storage.requests import RequestRepository
from storage.results import ResultRecord, ResultRepository
from storage.scans import ScanRepository
from storage.scrubbing import DAMAGED, REPAIRED, ScrubRepository
from storage.studies import StudyRepository
from storage.vocabulary import RequestKind
from tests.mr_series import MrSeries, mr_series
from tests.outbox import SteppedClock

SERIES = mr_series(slices=5)
SEG = b"a segmentation"


class Node:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'node.db'}"
        upgrade(url)
        self.database, self.clock = Database(url), SteppedClock()
        self.files = FileStore(folder / "store", min_free_bytes=0)
        self.studies, self.scans = StudyRepository(self.database, self.clock), ScanRepository(self.database, self.clock)
        self.requests = RequestRepository(self.database, self.clock)
        self.audit = AuditRepository(self.database, self.clock)
        self.scrubs = ScrubRepository(self.database, self.clock)
        self.ingest = Ingest(self.files, self.studies)
        self.source = folder / "source"
        self.software = b""
        assert self.receive() == [Taken.NEW] * 5
        scan = self.scans.by_study(str(SERIES.datasets[0].StudyInstanceUID))
        assert scan is not None
        self.scan_id = scan.id
        self.scans.apply_event(scan.id, ScanEvent.COMPLETE)
        self.run_id = self.scans.start_run(scan.id, ["1"], "models").id
        self.files.write_result(self.run_id, "seg.dcm", SEG)
        ResultRepository(self.database, self.clock).upsert(
            ResultRecord(
                run_id=self.run_id, kind="SEG", sop_instance_uid="2.25.1", sop_class_uid="1.2", path=self.seg,
                series_instance_uid="2.25.2", size=len(SEG), sha256=hashlib.sha256(SEG).hexdigest(),
            )
        )  # fmt: skip

    @property
    def seg(self) -> str:
        return f"results/{self.run_id}/seg.dcm"

    def encode(self, run_id: str) -> dict[str, bytes]:
        assert run_id == self.run_id
        return {self.seg: SEG + self.software}

    def receive(self, series: MrSeries = SERIES) -> list[Taken]:
        taken = []
        for dataset, path in zip(series.datasets, series.write(self.source), strict=True):
            syntax, data = split_part10(path.read_bytes())
            claim = Claim(
                sop_class_uid=str(dataset.SOPClassUID),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                transfer_syntax_uid=syntax,
            )
            taken.append(self.ingest.receive(data, claim).taken)
        return taken

    def scrub(self, *, asks_pacs: bool = False) -> Scrub:
        removals = RemovalRepository(self.database, self.files, clock=self.clock)
        return Scrub(self.scrubs, removals, self.requests, self.files, asks_pacs=asks_pacs, encode=self.encode)

    def image(self, number: int) -> Path:
        rows = self.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))
        return self.files.abspath(rows[number].path)

    def events(self, kind: str) -> list[str]:
        return [event.text for event in self.audit.list(scan_id=self.scan_id, kind=kind)]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def test_a_whole_store_is_read_and_nothing_is_said(node: Node) -> None:
    tally = node.scrub().all()
    assert (tally.files, tally.damages) == (6, ())
    assert all(row.last_ended_at is not None for row in node.scrubs.passes())


@pytest.mark.parametrize("asks_pacs", [True, False])
def test_a_damaged_image_is_kept_aside_asked_for_and_taken_again(node: Node, asks_pacs: bool) -> None:
    path, whole = node.image(2), node.image(2).read_bytes()
    flip(path)
    damaged = path.read_bytes()
    (damage,) = node.scrub(asks_pacs=asks_pacs).all().damages
    assert damage.what == "changed on the disk"
    assert not path.exists()
    (aside,) = (node.files.root / "conflicts").iterdir()
    assert aside.read_bytes() == damaged
    assert node.files.orphans(node.studies.known_paths()) == []
    assert len(node.events(DAMAGED)) == 1
    assert (node.scrubs.damaged_files(), node.scrubs.missing_images()) == (1, 1)
    assert len(node.requests.pending(kinds=(RequestKind.FETCH,))) == asks_pacs
    assert node.scrub().all().damages == ()  # known once, told once

    assert node.receive() == [Taken.DUPLICATE] * 5
    assert path.read_bytes() == whole
    assert node.scrubs.missing_images() == 0
    assert node.scrub().all().files == 6


def test_a_damaged_image_whose_place_another_object_took_is_settled_too(node: Node) -> None:
    mistyped = mr_series(slices=6)
    for dataset in mistyped.datasets:
        dataset.PatientID = "MISTYPED"
    assert node.receive(mistyped)[5] is Taken.IDENTITY_CONFLICT
    assert node.receive(mr_series(slices=6))[5] is Taken.NEW
    flip(node.image(5))
    (damage,) = node.scrub(asks_pacs=True).all().damages
    assert damage.path.startswith("conflicts/")
    assert len(node.requests.pending(kinds=(RequestKind.FETCH,))) == 1
    assert node.receive(mr_series(slices=6))[5] is Taken.DUPLICATE
    assert node.scrubs.missing_images() == 0


def test_a_file_that_is_gone_is_found_too(node: Node) -> None:
    node.image(0).unlink()
    (damage,) = node.scrub().all().damages
    assert damage.what == "gone from the disk"
    assert list((node.files.root / "conflicts").iterdir()) == []


def test_a_damaged_result_is_written_anew_with_the_same_bytes(node: Node) -> None:
    flip(node.files.abspath(node.seg))
    (damage,) = node.scrub().all().damages
    assert damage.settled == "written anew, byte for byte"
    assert node.files.read(node.seg) == SEG
    assert len(node.events(DAMAGED)) == len(node.events(REPAIRED)) == 1


def test_what_would_come_out_otherwise_is_not_put_under_the_same_uid(node: Node) -> None:
    flip(node.files.abspath(node.seg))
    damaged, node.software = node.files.read(node.seg), b" by a later release"
    (damage,) = node.scrub().all().damages
    assert "not sent" in damage.settled
    assert node.files.read(node.seg) == damaged
    assert node.events(REPAIRED) == []


def test_a_pass_is_spread_over_its_days(node: Node) -> None:
    flip(node.image(4))
    scrub, damages, shares = node.scrub(), 0, 0
    while node.scrubs.missing_images() == 0:
        tally = scrub.share(of_days=1.0, every_s=86_400.0 / 5)
        assert tally.files <= 3
        damages, shares = damages + len(tally.damages), shares + 1
    assert (damages, shares) == (1, 5)


def test_damage_is_told_without_the_patient(node: Node) -> None:
    flip(node.image(1))
    (damage,) = node.scrub().all().damages
    said = damage.path + damage.settled + "".join(node.events(DAMAGED))
    assert str(SERIES.datasets[0].PatientID) not in said
    assert str(SERIES.datasets[0].PatientName) not in said


def test_the_time_of_the_last_pass_is_kept(node: Node) -> None:
    assert node.scrubs.passes() == []
    node.scrub().all()
    ended = [row.last_ended_at for row in node.scrubs.passes()]
    assert ended == [node.clock()] * 2
    assert isinstance(ended[0], datetime)
    assert ended[0].tzinfo is UTC
