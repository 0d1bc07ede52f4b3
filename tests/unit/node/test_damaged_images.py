"""An image that changed on the disk is not analysed: the run ends, says which, and begins again once it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.config import NodeConfig
from dicom_node.housekeeping import scrub_of
from dicom_node.inbound.ingest import Ingest
from dicom_node.routing import Routing
from dicom_node.runs import RunSteps
from dicom_node.store import Store, open_store
from dicom_node.study import ImagesDamaged
from pipeline.models.protocols import Models
from storage.lifecycle import ScanEvent, ScanState
from storage.restoring import IMAGES_REMOVED
from storage.scan_rows import ScanRow
from tests.mr_series import mr_series
from tests.outbox import SteppedClock

SERIES = mr_series(slices=12)
UIDS = [str(one.SOPInstanceUID) for one in SERIES.datasets]


class Analysed(Exception):
    """The run came to its models: all was read."""


def no_models() -> Models:
    raise Analysed


class Node:
    def __init__(self, folder: Path) -> None:
        self.config = NodeConfig.model_validate({"storage": {"root": folder / "root", "min_free_mb": 0}})
        self.clock = SteppedClock()
        self.store: Store = open_store(self.config, self.clock)
        self.source = folder / "source"
        self.steps = RunSteps(
            studies=self.store.studies,
            scans=self.store.scans,
            results=self.store.results,
            deliveries=self.store.deliveries,
            reviews=self.store.reviews,
            files=self.store.files,
            models=no_models,
            routing=Routing(kinds_by_destination={}),
            software_version="test",
        )
        self.receive()

    def receive(self) -> None:
        ingest = Ingest(self.store.files, self.store.studies)
        for path in SERIES.write(self.source):
            ingest.receive_file(path.read_bytes(), source="MODALITY")

    @property
    def scan(self) -> ScanRow:
        found = self.store.scans.by_study(str(SERIES.datasets[0].StudyInstanceUID))
        assert found is not None
        return found

    def image(self, number: int) -> Path:
        rows = self.store.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))
        return self.store.files.abspath(next(row.path for row in rows if row.sop_instance_uid == UIDS[number]))

    def run(self) -> str:
        """A run of the whole study, started."""
        self.clock.advance(1)
        self.store.scans.apply_event(self.scan.id, ScanEvent.COMPLETE)
        return self.store.scans.start_run(self.scan.id, UIDS).id


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.store.database.close()


def flip(path: Path) -> None:
    """One bit, of a pixel."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_of_a_pixel_ends_the_run_and_the_image_sent_again_begins_it(node: Node) -> None:
    flip(node.image(7))
    run_id = node.run()
    with pytest.raises(ImagesDamaged) as damaged:
        node.steps.analyse(run_id)
    assert damaged.value.sop_instance_uids == (UIDS[7],)
    node.steps.failed(run_id, damaged.value)
    scan = node.scan
    assert (scan.status, scan.error_code) == (ScanState.FAILED, IMAGES_REMOVED)
    assert f"1 of its images changed on the disk since received, SOP instance {UIDS[7]}: run" in str(scan.error_text)

    scrub_of(node.config, node.store, lambda _run_id: {}, node.clock).all()
    node.receive()
    assert node.scan.status is ScanState.ASSEMBLING
    with pytest.raises(Analysed):
        node.steps.analyse(node.run())


def test_whole_images_are_analysed(node: Node) -> None:
    with pytest.raises(Analysed):
        node.steps.analyse(node.run())


def test_many_damaged_images_are_counted_and_some_named() -> None:
    text = str(ImagesDamaged("1.2", [f"1.2.{number}" for number in range(9)]))
    assert "9 of its images" in text
    assert "1.2.4, ...:" in text
