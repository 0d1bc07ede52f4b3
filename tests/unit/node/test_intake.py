"""From the first image to a run and on: every path of assembly on real rows, with the clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.ingest import Ingest
from dicom_node.intake import Intake, Jobs
from dicom_node.uids import derive_uid
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.lifecycle import ScanEvent, ScanState
from storage.requests import RequestRepository
from storage.runs import RunRow
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import RequestKind, RunState
from tests.mr_series import mr_series
from tests.outbox import SteppedClock

_TIMING = {
    "T1": ("T1 nativ", 550, 9, None),
    "T1CE": ("T1 +KM", 550, 9, None),
    "T2": ("T2 tse", 5000, 100, None),
    "FLAIR": ("FLAIR", 9000, 110, 2500),
}
SLICES, STEP_MM = 5, 2.5


def images(role: str, slices: int = SLICES) -> list[Dataset]:
    """A series with the header of a role."""
    description, repetition, echo, inversion = _TIMING[role]
    datasets = list(mr_series(series=role, slices=slices, slice_spacing=STEP_MM).datasets)
    for dataset in datasets:
        dataset.SeriesDescription, dataset.ScanningSequence = description, "SE"
        dataset.RepetitionTime, dataset.EchoTime = repetition, echo
        if inversion is None:
            del dataset.InversionTime
        else:
            dataset.InversionTime = inversion
    return datasets


def part10(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return bytes(buffer.getvalue())


@dataclass
class Bench:
    """A node's rows, files and intake."""

    clock: SteppedClock
    ingest: Ingest
    intake: Intake
    scans: ScanRepository
    studies: StudyRepository
    requests: RequestRepository
    submitted: list[RunRow] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)

    def receive(self, *datasets: Dataset) -> None:
        for dataset in datasets:
            self.ingest.receive_file(part10(dataset), source="MODALITY")

    def after(self, seconds: float) -> ScanRow:
        """The scan after so much time in which the intake looked now and then."""
        looks = 5
        for _ in range(looks):
            self.clock.advance(seconds / looks)
            self.intake.tick()
        (scan,) = [scan for state in ScanState for scan in self.scans.in_states(state)]
        return scan

    def deliver(self, scan: ScanRow) -> None:
        """What the engine and the delivery loop do with a run."""
        self.scans.finish_run(self.submitted[-1].id, RunState.DONE)
        for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED):
            self.scans.apply_event(scan.id, event, "done")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path / 'node.db'}"
    upgrade(url)
    database, clock = Database(url), SteppedClock()
    files = FileStore(tmp_path / "store", min_free_bytes=0)
    studies, scans = StudyRepository(database, clock), ScanRepository(database, clock)
    requests = RequestRepository(database, clock)
    submitted: list[RunRow] = []
    held: dict[str, int] = {}

    def answer(_study_uid: str) -> Mapping[str, int]:
        return held

    intake = Intake(
        studies=studies, scans=scans, requests=requests, deliveries=DeliveryRepository(database, clock), files=files,
        jobs=Jobs(submit=submitted.append, gave_up=lambda run: None), policy=AssemblyPolicy(),
        model_digest=lambda: "models", clock=clock, held_by_pacs=answer,
    )  # fmt: skip
    ingest = Ingest(files, studies, AuditRepository(database))
    yield Bench(clock, ingest, intake, scans, studies, requests, submitted, held)
    database.close()


def whole_study(without: str = "", **cut: Any) -> list[Dataset]:
    return [dataset for role in _TIMING if role != without for dataset in images(role, **cut)]


def test_a_whole_study_begins_when_it_has_been_quiet_for_a_moment(bench: Bench) -> None:
    bench.receive(*whole_study())
    assert bench.after(10).status is ScanState.ASSEMBLING
    assert bench.submitted == []
    assert bench.after(14).status is ScanState.ANALYSING
    assert len(bench.submitted) == 1


def test_a_missing_slice_is_named_waited_for_and_its_coming_begins_the_run(bench: Bench) -> None:
    flair = images("FLAIR", slices=48)
    late = flair.pop(5)
    bench.receive(*whole_study(without="FLAIR"), *flair)
    scan = bench.after(60)
    assert scan.status is ScanState.ASSEMBLING
    assert scan.waiting_for == f"FLAIR: 47 of 48 slices, gap at {flair[4].ImagePositionPatient[2]:.1f} mm"
    bench.receive(late)
    assert bench.after(10).status is ScanState.ASSEMBLING
    assert bench.after(20).status is ScanState.ANALYSING
    assert len(bench.submitted) == 1


def test_the_count_of_the_pacs_is_waited_for(bench: Bench) -> None:
    """A lost last slice leaves no gap; only the PACS's answer to C-FIND tells."""
    datasets = whole_study()
    lost = datasets.pop()
    uid = str(lost.SeriesInstanceUID)
    bench.held[uid] = SLICES
    bench.receive(*datasets)
    scan = bench.after(60)
    assert scan.status is ScanState.ASSEMBLING
    assert f"PACS says {SLICES} instances, {SLICES - 1} here" in scan.waiting_for
    bench.receive(lost)
    assert bench.after(26).status is ScanState.ANALYSING


def test_a_person_who_will_not_wait_begins_the_run_at_once(bench: Bench) -> None:
    bench.receive(*whole_study(without="FLAIR"))
    scan = bench.after(4)
    assert "FLAIR: no series yet" in scan.waiting_for
    bench.requests.add(scan.id, RequestKind.PROCESS_NOW)
    assert bench.after(2).status is ScanState.ANALYSING
    assert len(bench.submitted) == 1


def test_of_two_workers_with_one_request_the_later_one_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other moves the scan between this one's look at it and its own move."""
    bench.receive(*whole_study(without="FLAIR"))
    scan = bench.after(4)
    bench.requests.add(scan.id, RequestKind.PROCESS_NOW)
    apply_event = bench.scans.apply_event

    def after_the_other(scan_id: str, event: ScanEvent, text: str = "", **data: str) -> ScanRow:
        apply_event(scan_id, event, text, **data)
        return apply_event(scan_id, event, text, **data)

    monkeypatch.setattr(bench.scans, "apply_event", after_the_other)
    assert bench.after(2).status is ScanState.ANALYSING
    assert len(bench.submitted) == 1


def test_without_a_role_it_begins_reduced_after_the_study_is_quiet(bench: Bench) -> None:
    bench.receive(*whole_study(without="FLAIR"))
    assert bench.after(290).status is ScanState.ASSEMBLING
    assert bench.after(16).status is ScanState.ANALYSING


def test_a_late_series_amends_and_the_study_sent_again_does_not(bench: Bench) -> None:
    early = whole_study(without="FLAIR")
    bench.receive(*early)
    scan = bench.after(310)
    assert scan.status is ScanState.ANALYSING
    bench.deliver(scan)

    bench.receive(*early)  # the PACS routes it once more
    scan = bench.after(400)
    assert scan.status is ScanState.DELIVERED
    assert len(bench.submitted) == 1

    bench.receive(*images("FLAIR"))
    assert bench.after(10).status is ScanState.ASSEMBLING
    scan = bench.after(30)
    assert scan.status is ScanState.ANALYSING
    assert [run.number for run in bench.scans.runs_of(scan.id)] == [1, 2]


def test_an_override_taken_back_is_analysed_once_more_and_a_second_retry_is_not(bench: Bench) -> None:
    bench.receive(*whole_study())
    scan = bench.after(30)
    uid = bench.studies.scan_facts(scan.id).series[0].series_instance_uid
    for role in ("T2", None):
        bench.deliver(scan)
        bench.requests.add(scan.id, RequestKind.ROLE_OVERRIDE, {"roles": {uid: role}, "by": "ada"})
        scan = bench.after(5)
        assert scan.status is ScanState.ANALYSING
    bench.deliver(scan)
    bench.requests.add(scan.id, RequestKind.RETRY)
    scan = bench.after(5)
    assert (scan.status, scan.run) == (ScanState.DELIVERING, 3)
    assert [run.number for run in bench.submitted] == [1, 2, 3]


def test_series_without_a_telling_header_wait_for_their_images_to_be_looked_at(bench: Bench) -> None:
    """They neither make the study ineligible nor are they left out of what the result depends on."""
    datasets = whole_study()
    for dataset in datasets:
        dataset.SeriesDescription = ""
        for keyword in ("RepetitionTime", "EchoTime", "InversionTime", "ScanningSequence"):
            if keyword in dataset:
                delattr(dataset, keyword)
    bench.receive(*datasets)
    scan = bench.after(30)
    assert "4 without a telling header, whose images will be looked at" in scan.waiting_for
    assert bench.after(300).status is ScanState.ANALYSING
    assert len(bench.submitted) == 1


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [
        (SegmentationStorage, "SEG"),
        (ComprehensiveSRStorage, "SR"),
        (SecondaryCaptureImageStorage, "OT"),
        (GrayscaleSoftcopyPresentationStateStorage, "PR"),
        (KeyObjectSelectionDocumentStorage, "KO"),
        (EncapsulatedPDFStorage, "DOC"),
    ],
)
def test_what_is_no_mr_image_is_kept_with_the_study_and_never_analysed(
    bench: Bench, sop_class: str, modality: str
) -> None:
    other = Dataset()
    other.file_meta = FileMetaDataset()
    other.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    other.SOPClassUID, other.SOPInstanceUID = sop_class, derive_uid("test", sop_class)
    other.file_meta.MediaStorageSOPClassUID, other.file_meta.MediaStorageSOPInstanceUID = sop_class, "1.2.9"
    study = images("T1", slices=4)
    other.StudyInstanceUID, other.SeriesInstanceUID = study[0].StudyInstanceUID, "1.2.9.7"
    other.PatientID, other.IssuerOfPatientID, other.Modality = "ID-7", "WARD9", modality
    other.SeriesDescription = "T2 FLAIR post contrast"
    bench.receive(*study, other)
    scan = bench.after(310)
    assert scan.status is ScanState.ANALYSING
    assert set(bench.submitted[-1].inputs) == {str(dataset.SOPInstanceUID) for dataset in study}
    facts = bench.studies.scan_facts(scan.id)
    assert other.SOPInstanceUID in {row.sop_instance_uid for row in facts.instances}
    (row,) = [row for row in facts.series if row.series_instance_uid == "1.2.9.7"]
    assert row.role is None
    assert row.excluded_reason.split(":")[0] in ("NOT_MR", "NOT_AN_IMAGE", "SCREENSHOT")

    bench.deliver(scan)
    other.SOPInstanceUID += ".1"
    bench.receive(other)  # one more of them, late, is no reason to analyse again
    assert bench.after(310).status is ScanState.DELIVERING  # the earlier results, where they are still owed
    assert len(bench.submitted) == 1
