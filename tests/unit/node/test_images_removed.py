"""A run that would need images which policy has removed: the scan says so, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.intake import Intake, Jobs
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.lifecycle import ScanEvent, ScanState
from storage.requests import RequestRepository
from storage.restoring import IMAGES_REMOVED
from storage.runs import RunRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import RunState
from tests.mr_series import mr_series
from tests.outbox import SteppedClock

SERIES = mr_series(slices=12)


class Node:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'node.db'}"
        upgrade(url)
        self.database, self.clock = Database(url), SteppedClock()
        files = FileStore(folder / "store", min_free_bytes=0)
        studies = StudyRepository(self.database, self.clock)
        self.scans = ScanRepository(self.database, self.clock)
        self.started: list[RunRow] = []
        self.removed: set[str] = set()
        self.models = "models-1"
        self.intake = Intake(
            studies=studies,
            scans=self.scans,
            requests=RequestRepository(self.database, self.clock),
            deliveries=DeliveryRepository(self.database, self.clock),
            files=files,
            jobs=Jobs(submit=self.started.append, gave_up=lambda run: None),
            policy=AssemblyPolicy(),
            model_digest=lambda: self.models,
            clock=self.clock,
            removed=lambda _study_id: self.removed,
        )
        ingest = Ingest(files, studies)
        for dataset, path in zip(SERIES.datasets, SERIES.write(folder / "source"), strict=True):
            syntax, data = split_part10(path.read_bytes())
            ingest.receive(
                data,
                Claim(
                    sop_class_uid=str(dataset.SOPClassUID),
                    sop_instance_uid=str(dataset.SOPInstanceUID),
                    transfer_syntax_uid=syntax,
                ),
            )
        scan = self.scans.by_study(str(SERIES.datasets[0].StudyInstanceUID))
        assert scan is not None
        self.scan_id = scan.id
        self.scans.apply_event(scan.id, ScanEvent.COMPLETE)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_same_run_stands_and_another_one_needs_the_images(node: Node) -> None:
    node.intake.tick()
    (run,) = node.started
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED):
        node.scans.apply_event(node.scan_id, event)
    node.scans.finish_run(run.id, RunState.DONE)
    node.removed = {str(one.SOPInstanceUID) for one in SERIES.datasets[:5]}
    # Run again: the result is there, no image is needed.
    node.scans.apply_event(node.scan_id, ScanEvent.RETRY)
    node.intake.tick()
    assert node.scans.get(node.scan_id).status is ScanState.DELIVERING
    node.scans.apply_event(node.scan_id, ScanEvent.DELIVERED)
    # Other models: the images are needed, and 5 are gone.
    node.models = "models-2"
    node.scans.apply_event(node.scan_id, ScanEvent.RETRY)
    node.intake.tick()
    scan = node.scans.get(node.scan_id)
    assert (scan.status, scan.error_code) == (ScanState.FAILED, IMAGES_REMOVED)
    assert scan.error_text is not None
    assert scan.error_text.startswith("5 of the 12 images a new run needs were removed after delivery")
    assert len(node.started) == 1
    node.removed = set()
    node.scans.apply_event(node.scan_id, ScanEvent.RETRY)
    node.intake.tick()
    assert len(node.started) == 2
