"""Results sent to a real PACS, found again over DICOMweb, and kept owed while it is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.destinations import sender_for
from dicom_node.outbound.scu import echo
from dicom_node.outbound.sending import Destination
from dicom_node.results.encoders import encode_all
from pipeline.report import Segmentation
from tests.cutting_proxy import CuttingProxy
from tests.mr_series import mr_series, oblique
from tests.orthanc import OrthancServer
from tests.outbox import Outbox, outbox
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series(orientation=oblique())
REPORT = full_report(SERIES.grid)
RESULTS = encode_all(REPORT, evidence_of(SERIES), STAMP)


@pytest.fixture
def pacs(tmp_path: Path, debian_tool: Callable[[str], str]) -> Iterator[OrthancServer]:
    with OrthancServer(debian_tool("Orthanc"), tmp_path) as server:
        server.store(SERIES.write(tmp_path / "source"))
        yield server


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        made.owe(RESULTS, ["pacs"])
        yield made


def destination(pacs: OrthancServer, **changes: object) -> Destination:
    known = {"name": "pacs", "ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.dicom_port, "timeout_s": 5.0}
    return Destination(**{**known, **changes})


def deliverer(box: Outbox, to: Destination) -> Deliverer:
    policy = BackoffPolicy(first_retry_s=10, jitter=0)
    return Deliverer(box.deliveries, {to.name: sender_for(to, "BTNODE")}, box.resolve, policy=policy, clock=box.clock)


def test_results_are_found_again_over_dicomweb_with_every_voxel(pacs: OrthancServer, box: Outbox) -> None:
    assert deliverer(box, destination(pacs)).deliver_due() == DeliveryTally(sent=2)

    study_uid = str(SERIES.datasets[0].StudyInstanceUID)
    series = pacs.qido_series(study_uid)
    assert sorted(item["00080060"]["Value"][0] for item in series) == ["MR", "SEG", "SR"]

    client = DICOMwebClient(pacs.dicomweb_url)
    seg_uid = next(i["0020000E"]["Value"][0] for i in series if i["00080060"]["Value"][0] == "SEG")
    (instance,) = client.search_for_instances(study_uid, seg_uid)
    dataset = client.retrieve_instance(study_uid, seg_uid, instance["00080018"]["Value"][0])
    seg = highdicom.seg.Segmentation.from_dataset(dataset)
    sources = [image.SOPInstanceUID for image in SERIES.datasets]
    numbers = seg.get_pixels_by_source_instance(sources, combine_segments=True)
    assert isinstance(REPORT.segmentation, Segmentation)
    assert np.array_equal(np.array([0, 1, 2, 4], np.uint8)[numbers].transpose(2, 1, 0), REPORT.segmentation.labels)


def test_what_the_pacs_holds_is_what_was_made(pacs: OrthancServer, box: Outbox) -> None:
    deliverer(box, destination(pacs)).deliver_due()
    for result in RESULTS:
        (held,) = pacs.datasets(result.kind)
        assert held == dcmread(BytesIO(result.to_bytes()))


def test_a_pacs_that_is_down_is_owed_and_gets_all_when_it_is_back(pacs: OrthancServer, box: Outbox) -> None:
    sending = deliverer(box, destination(pacs))
    pacs.stop()
    assert sending.deliver_due() == DeliveryTally(put_off=2)
    rows = box.deliveries.outstanding(box.scan_id)
    assert [(row.attempts, (row.next_attempt_at - box.clock.now).total_seconds()) for row in rows] == [(1, 10.0)] * 2
    assert "no association" in rows[0].last_error
    pacs.start()
    box.clock.advance(10)
    assert sending.deliver_due() == DeliveryTally(sent=2)
    assert (len(pacs.instances("SEG")), len(pacs.instances("SR"))) == (1, 1)


def test_an_answer_that_is_lost_leaves_exactly_one_of_each(pacs: OrthancServer, box: Outbox) -> None:
    with CuttingProxy(pacs.host, pacs.dicom_port) as proxy:
        sending = deliverer(box, destination(pacs, port=proxy.port))
        for _ in range(4):
            assert sending.deliver_due() == DeliveryTally(put_off=2)
            box.clock.advance(100)
        assert proxy.cuts == 4
        assert len(pacs.instances("SEG")) == 1
        proxy.cutting = False
        assert sending.deliver_due() == DeliveryTally(sent=2)
    assert (len(pacs.instances("SEG")), len(pacs.instances("SR"))) == (1, 1)


def test_a_wrong_ae_title_is_put_off_with_the_reason(pacs: OrthancServer, box: Outbox) -> None:
    assert deliverer(box, destination(pacs, ae_title="WRONG")).deliver_due() == DeliveryTally(put_off=2)
    assert "Called AE title" in box.deliveries.outstanding(box.scan_id)[0].last_error


def test_echo_with_a_real_pacs(pacs: OrthancServer) -> None:
    assert echo(destination(pacs), "BTNODE").ok
    assert not echo(destination(pacs, ae_title="WRONG"), "BTNODE").ok
