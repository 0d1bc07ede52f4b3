"""The STOW-RS sender against a real HTTP service on loopback: each says or does one thing."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.outbound.sending import Destination, OutgoingObject, Verdict
from dicom_node.outbound.stow import DicomwebSender
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report, written
from tests.stow_peer import StowPeer


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


def send(url: str, objects: list[OutgoingObject], **changes: object) -> list[tuple[Verdict, bool, str]]:
    to = Destination(name="vna", kind="dicomweb", url=url, **{"timeout_s": 5.0, **changes})  # type: ignore[arg-type]
    return [(one.verdict, one.turned_away, one.text) for one in DicomwebSender(to, "BTNODE").send(objects)]


def test_the_files_arrive_as_they_are_in_one_request(objects: list[OutgoingObject]) -> None:
    with StowPeer() as peer:
        assert send(peer.url, objects) == [(Verdict.SENT, False, "stored")] * 2
    assert peer.parts == [item.path.read_bytes() for item in objects]
    assert len(peer.headers) == 1


def test_each_object_has_its_own_fate(objects: list[OutgoingObject]) -> None:
    reasons = {objects[0].sop_instance_uid: 0xA700}
    with StowPeer(failure=reasons.get) as peer:
        outcomes = send(peer.url, objects)
    assert [verdict for verdict, *_ in outcomes] == [Verdict.RETRY, Verdict.SENT]
    assert "out of resources" in outcomes[0][2]


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [(0x0111, Verdict.SENT), (0x0110, Verdict.RETRY), (0x0122, Verdict.REFUSED), (0xA900, Verdict.REFUSED)],
)
def test_the_failure_reason_decides_where_all_fail(
    objects: list[OutgoingObject], reason: int, verdict: Verdict
) -> None:
    with StowPeer(failure=lambda uid: reason) as peer:
        assert [found for found, *_ in send(peer.url, objects)] == [verdict] * 2


@pytest.mark.parametrize(
    ("status", "verdict", "away"),
    [
        (400, Verdict.REFUSED, False),
        (401, Verdict.RETRY, True),
        (403, Verdict.RETRY, True),
        (404, Verdict.RETRY, True),
        (302, Verdict.RETRY, True),
        (413, Verdict.REFUSED, False),
        (429, Verdict.RETRY, False),
        (500, Verdict.RETRY, False),
        (503, Verdict.RETRY, False),
    ],
)
def test_the_http_status_decides_where_nothing_else_is_said(
    objects: list[OutgoingObject], status: int, verdict: Verdict, away: bool
) -> None:
    with StowPeer(status=status) as peer:
        outcomes = send(peer.url, objects)
        assert [(found, turned) for found, turned, _ in outcomes] == [(verdict, away)] * 2
        assert len(peer.headers) == 1


@pytest.mark.parametrize("answer", [{}, {"00081199": {"vr": "SQ", "Value": []}}, {"x": 1}])
def test_an_answer_that_does_not_name_an_object_proves_nothing(
    objects: list[OutgoingObject], answer: dict[str, object]
) -> None:
    with StowPeer(answer=answer) as peer:
        assert {verdict for verdict, *_ in send(peer.url, objects)} == {Verdict.RETRY}


def test_it_signs_in_with_a_token_or_a_password(objects: list[OutgoingObject]) -> None:
    with StowPeer() as peer:
        send(peer.url, objects[1:], auth="bearer", secret="tüken".encode().hex())
        send(peer.url, objects[1:], auth="basic", username="node", secret="pässword")
        send(peer.url, objects[1:])
    bearer, basic, none = (headers.get("Authorization") for headers in peer.headers)
    assert bearer == f"Bearer {'tüken'.encode().hex()}"
    assert basic == "Basic " + base64.b64encode("node:pässword".encode()).decode()
    assert none is None


def test_a_certificate_is_trusted_where_it_is_named(objects: list[OutgoingObject], tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=vna",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with StowPeer(certificate=(str(certificate), str(key))) as peer:
        (stranger,) = send(peer.url, objects[1:])
        (known,) = send(peer.url, objects[1:], ca_file=certificate)
    assert (stranger[0], "certificate" in stranger[2]) == (Verdict.RETRY, True)
    assert known[0] is Verdict.SENT


def test_a_secret_stands_in_no_repr() -> None:
    assert "hush" not in repr(Destination(name="vna", kind="dicomweb", url="https://x", secret="hush"))
