"""A peer that sends everything back, as it came or coerced, by each door: nothing is analysed or sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt

from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.results.encoders import encode_all
from dicom_node.stow_door import StowDoor
from storage.lifecycle import ScanState
from storage.scans import ScanRepository
from tests.listener import Listener, listening
from tests.mr_series import mr_series
from tests.outbox import Outbox, outbox
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()
RESULTS = encode_all(full_report(SERIES.grid), evidence_of(SERIES), STAMP)
ROUNDS = 3

Change = Callable[[Dataset, int], None]


def as_it_came(dataset: Dataset, number: int) -> None:
    pass


def unmarked(dataset: Dataset, number: int) -> None:
    """Our marks are taken off, and each copy differs."""
    dataset.Manufacturer = dataset.ManufacturerModelName = "ARCHIVE"
    dataset.SeriesDescription = f"copy {number}"


def renamed(dataset: Dataset, number: int) -> None:
    """Another UID; the marks stay."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID[:40]}.{number}"


class Echo:
    """Stores with Success and sends each object back to the node several times, by C-STORE or by STOW-RS."""

    def __init__(self, here: Listener, folder: Path, change: Change, *, by_stow: bool) -> None:
        self.here, self.folder, self.change, self.by_stow = here, folder, change, by_stow
        self.received: list[str] = []
        self.back: list[Any] = []
        ae = AE(ae_title="ECHO")
        ae.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
        ae.add_supported_context(Comprehensive3DSRStorage, ExplicitVRLittleEndian)
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])

    def _store(self, event: evt.Event) -> int:
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        for number in range(ROUNDS):
            dataset = dcmread(BytesIO(event.encoded_dataset()))
            self.change(dataset, len(self.received) * 10 + number)
            path = self.folder / f"{len(self.received)}-{number}.dcm"
            dataset.save_as(path)
            if self.by_stow:
                door = StowDoor(self.here.ingest, self.here.files)
                self.back.append(door.store_part(path, calling="STOW", study_instance_uid=None).failure is None)
            else:
                (outcome,) = DicomSender(self.here.address, "ECHO").send([outgoing_file(path)])
                self.back.append(outcome.verdict is Verdict.SENT)
        return 0x0000


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        yield made


@pytest.mark.parametrize("by_stow", [False, True], ids=["c-store", "stow"])
@pytest.mark.parametrize("change", [as_it_came, unmarked, renamed])
def test_what_comes_back_is_acknowledged_kept_once_and_never_analysed(
    box: Outbox, tmp_path: Path, change: Change, by_stow: bool
) -> None:
    box.owe(RESULTS, ["echo"])
    scans = ScanRepository(box.database, box.clock)
    with listening(tmp_path, database=box.database) as here:
        # The study itself is here and its scan has ended, as when a result is delivered.
        sent = DicomSender(here.address, "MODALITY").send([outgoing_file(p) for p in SERIES.write(tmp_path / "mr")])
        assert {outcome.verdict for outcome in sent} == {Verdict.SENT}
        study = scans.by_study(str(SERIES.datasets[0].StudyInstanceUID))
        assert study is not None
        before = (study.status, study.run, study.late, study.updated_at)

        echo = Echo(here, tmp_path, change, by_stow=by_stow)
        to = Destination(
            name="echo", ae_title="ECHO", host="127.0.0.1", port=echo.server.server_address[1], timeout_s=20.0
        )
        deliverer = Deliverer(
            box.deliveries, {"echo": DicomSender(to, "BTNODE")}, box.resolve, policy=BackoffPolicy(), clock=box.clock
        )
        assert deliverer.deliver_due() == DeliveryTally(sent=2)
        for _ in range(3):
            box.clock.advance(7200)
            assert deliverer.deliver_due() == DeliveryTally()
        echo.server.shutdown()

        assert echo.back == [True] * (len(RESULTS) * ROUNDS)
        assert sorted(echo.received) == sorted(result.sop_instance_uid for result in RESULTS)
        after = scans.by_study(str(SERIES.datasets[0].StudyInstanceUID))
        assert after is not None
        assert (after.status, after.run, after.late, after.updated_at) == before
        assert len(box.deliveries.of_scan(box.scan_id)) == len(RESULTS)
        assert scans.in_states(ScanState.READY, ScanState.DELIVERED, ScanState.FAILED) == []
        uid = str(SERIES.datasets[0].StudyInstanceUID)
        own = [row for row in here.studies.instances_of(uid, own=True) if row.own_object]
        copies = ROUNDS if change is renamed else 1
        assert len(own) == len(RESULTS) * copies
        assert len(here.studies.instances_of(uid)) == len(SERIES.datasets)
        assert here.studies.conflicts_of(uid) == []
        files = list((here.files.root / "studies").rglob("*.dcm"))
        assert len(files) == len(SERIES.datasets) + len(own)
        assert list((here.files.root / "conflicts").rglob("*.dcm")) == []
