"""The sender against real peers on loopback: each says or does one thing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from dicom_node.outbound.scu import DicomSender, echo
from dicom_node.outbound.sending import Destination, OutgoingObject, Verdict
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report, written

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
CLASSES = {SegmentationStorage: SYNTAXES, Comprehensive3DSRStorage: SYNTAXES}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[OutgoingObject]:
    """A SEG and an SR as files."""
    folder = tmp_path_factory.mktemp("results")
    series = mr_series()
    return [
        OutgoingObject(
            path=written(result.to_bytes(), folder, f"{result.kind}.dcm"),
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        for result in encode_all(full_report(series.grid), evidence_of(series), STAMP)
    ]


@contextmanager
def peer(
    handler: Callable[[evt.Event], int] = lambda event: 0x0000,
    classes: dict[str, list[str]] | None = None,
    require_called_ae: bool = False,
) -> Iterator[Destination]:
    ae = AE(ae_title="PEER")
    ae.require_called_aet = require_called_ae
    for sop_class, syntaxes in (CLASSES if classes is None else classes).items():
        ae.add_supported_context(sop_class, syntaxes)
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handler)])
    try:
        yield destination(server.server_address[1])
    finally:
        server.shutdown()


def destination(port: int, **changes: object) -> Destination:
    known = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": port, "timeout_s": 5.0, **changes}
    return Destination(**known)


def test_all_go_over_one_association_under_our_title(objects: list[OutgoingObject]) -> None:
    seen = []

    def keep(event: evt.Event) -> int:
        context = event.context
        seen.append((event.assoc.requestor.ae_title, id(event.assoc), context.transfer_syntax, event.request))
        return 0x0000

    with peer(keep) as to:
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.SENT, Verdict.SENT]
    assert [o.sop_instance_uid for o in outcomes] == [o.sop_instance_uid for o in objects]
    assert {title for title, *_ in seen} == {"BTNODE"}
    assert len({association for _, association, *_ in seen}) == 1
    assert {syntax for _, _, syntax, _ in seen} == {ExplicitVRLittleEndian}
    assert [request.AffectedSOPInstanceUID for *_, request in seen] == [o.sop_instance_uid for o in objects]


def test_the_bytes_that_arrive_are_the_file(objects: list[OutgoingObject]) -> None:
    arrived = []

    def keep(event: evt.Event) -> int:
        arrived.append(event.encoded_dataset(include_meta=False))
        return 0x0000

    with peer(keep) as to:
        DicomSender(to, "BTNODE").send(objects)
    assert all(item.path.read_bytes().endswith(data) for item, data in zip(objects, arrived, strict=True))


def test_a_peer_that_knows_only_implicit_vr_gets_it(objects: list[OutgoingObject]) -> None:
    arrived = []

    def keep(event: evt.Event) -> int:
        arrived.append(event.dataset)
        return 0x0000

    with peer(keep, {uid: [ImplicitVRLittleEndian] for uid in CLASSES}) as to:
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.SENT, Verdict.SENT]
    assert arrived[0].PixelData == dcmread(objects[0].path).PixelData


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(0xB000, Verdict.SENT), (0xA700, Verdict.RETRY), (0xA900, Verdict.REFUSED), (0xC000, Verdict.REFUSED)],
)
def test_the_peers_status_decides(objects: list[OutgoingObject], status: int, verdict: Verdict) -> None:
    with peer(lambda event: status) as to:
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [(o.verdict, o.status) for o in outcomes] == [(verdict, status)] * 2


def test_a_class_the_peer_does_not_take_is_refused_and_the_other_goes(objects: list[OutgoingObject]) -> None:
    with peer(classes={Comprehensive3DSRStorage: SYNTAXES}) as to:
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.REFUSED, Verdict.SENT]
    assert SegmentationStorage in outcomes[0].text


def test_an_abort_puts_off_this_object_and_the_rest(objects: list[OutgoingObject]) -> None:
    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with peer(abort) as to:
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [(o.verdict, o.status) for o in outcomes] == [(Verdict.RETRY, None)] * 2


def test_a_rejected_association_is_put_off_with_the_peers_reason(objects: list[OutgoingObject]) -> None:
    with peer(require_called_ae=True) as to:
        wrong = destination(to.port, ae_title="OTHER")
        outcomes = DicomSender(wrong, "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] * 2
    assert "Called AE title not recognised" in outcomes[0].text


def test_nobody_listening_is_put_off(objects: list[OutgoingObject]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcomes = DicomSender(destination(unused.getsockname()[1]), "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] * 2


def test_a_host_without_an_address_is_put_off(objects: list[OutgoingObject]) -> None:
    outcomes = DicomSender(destination(104, host="no-such-host.invalid"), "BTNODE").send(objects[:1])
    assert [o.verdict for o in outcomes] == [Verdict.RETRY]


def test_a_peer_that_accepts_and_says_nothing_costs_one_time_out(objects: list[OutgoingObject]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        to = destination(silent.getsockname()[1], timeout_s=0.5)
        outcomes = DicomSender(to, "BTNODE").send(objects)
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] * 2
    assert time.monotonic() - started < 5


def test_a_peer_that_stores_and_never_answers_is_put_off(objects: list[OutgoingObject]) -> None:
    release = threading.Event()

    def stall(event: evt.Event) -> int:
        release.wait(10)
        return 0x0000

    with peer(stall) as to:
        outcomes = DicomSender(destination(to.port, timeout_s=0.5), "BTNODE").send(objects)
        release.set()
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] * 2


def test_nothing_to_send_opens_no_connection() -> None:
    assert DicomSender(destination(1), "BTNODE").send([]) == ()


def test_echo(objects: list[OutgoingObject]) -> None:
    with peer() as to:
        assert echo(to, "BTNODE").ok
        port = to.port
    result = echo(destination(port, timeout_s=1.0), "BTNODE")
    assert not result.ok
    assert "no association" in result.text


def test_objects_go_without_nagles_delay(objects: list[OutgoingObject], tmp_path: Path) -> None:
    with peer() as to:
        started = time.monotonic()
        outcomes = DicomSender(to, "BTNODE").send([objects[1]] * 20)
    assert {o.verdict for o in outcomes} == {Verdict.SENT}
    # With Nagle's algorithm on, each would wait 40 ms and more.
    assert time.monotonic() - started < 5
