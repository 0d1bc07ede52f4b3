"""A PACS that takes pictures and documents only: SEG and SR are replaced, each class negotiated on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import EncapsulatedPDFStorage, SecondaryCaptureImageStorage, SegmentationStorage

from dicom_node.outbound.breaker import Breaker, BreakerPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination
from dicom_node.results.encoders import encode_all
from storage.circuits import CircuitRepository
from tests.mr_series import mr_series
from tests.outbox import Outbox, outbox
from tests.report_builders import STAMP, evidence_of, full_report

KINDS = ("SEG", "SR", "SC", "PDF")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        yield made


class OldPacs:
    """Takes some SOP classes, and keeps what came."""

    def __init__(self, *classes: str) -> None:
        self.taken: list[str] = []
        self._ae = AE("OLD")
        for one in classes:
            self._ae.add_supported_context(one)
        self.server = self._ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def _store(self, event: evt.Event) -> int:
        self.taken.append(str(event.request.AffectedSOPClassUID.name))
        return 0x0000


def delivered(box: Outbox, pacs: OldPacs, fallback: tuple[str, ...]) -> DeliveryTally:
    series = mr_series()
    objects = encode_all(full_report(series.grid), evidence_of(series), STAMP, KINDS)
    box.owe([o for o in objects if o.kind in ("SEG", "SR")], ["old"])
    box.owe([o for o in objects if o.kind in ("SC", "PDF")], [])
    port = pacs.server.server_address[1]
    destination = Destination(name="old", ae_title="OLD", host="127.0.0.1", port=port, timeout_s=10)
    breaker = Breaker(CircuitRepository(box.database), BreakerPolicy(refusals=1), box.clock)
    senders = {"old": DicomSender(destination, "BTNODE")}
    sending = Deliverer(
        box.deliveries, senders, box.resolve, breaker=breaker, fallback={"old": fallback}, clock=box.clock
    )
    try:
        return sending.deliver_due()
    finally:
        pacs.server.shutdown()


def test_what_is_refused_is_replaced_and_nothing_else(box: Outbox) -> None:
    pacs = OldPacs(SecondaryCaptureImageStorage, EncapsulatedPDFStorage)
    assert delivered(box, pacs, ("SC", "PDF")) == DeliveryTally(sent=2, replaced=2)
    assert sorted(box.states()) == [
        ("old", "PDF", "sent"),
        ("old", "SC", "sent"),
        ("old", "SEG", "replaced"),
        ("old", "SR", "replaced"),
    ]
    assert sorted(pacs.taken) == ["Encapsulated PDF Storage", "Secondary Capture Image Storage"]


def test_without_a_fall_back_the_refusal_stands(box: Outbox) -> None:
    assert delivered(box, OldPacs(SecondaryCaptureImageStorage), ()).failed >= 1
    assert {state for _, kind, state in box.states() if kind == "SEG"} == {"failed"}
    assert "SC" not in {kind for _, kind, _ in box.states()}


def test_only_the_refused_class_is_replaced(box: Outbox) -> None:
    pacs = OldPacs(SegmentationStorage, SecondaryCaptureImageStorage)
    tally = delivered(box, pacs, ("SC",))
    assert (tally.sent, tally.replaced) == (2, 1)
    assert sorted(box.states()) == [("old", "SC", "sent"), ("old", "SEG", "sent"), ("old", "SR", "replaced")]


def test_a_held_object_is_never_due(box: Outbox) -> None:
    series = mr_series()
    (seg,) = encode_all(full_report(series.grid), evidence_of(series), STAMP, ["SEG"])
    box.owe([seg], [])
    (row,) = box.results.of_run(box.run_id)
    box.deliveries.hold(row.id, "pacs", "held, not sent: title: wrong")
    box.deliveries.owe(row.id, ["pacs"])
    assert box.states() == [("pacs", "SEG", "held")]
    assert box.deliveries.due() == []
    assert box.deliveries.owe_again(box.scan_id) == 0
