"""DICOMweb both ways with strangers: Orthanc as our STOW destination, Orthanc and dicomweb-client at our inbox."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.outbound.breaker import Breaker, BreakerPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.destinations import sender_for
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.results.encoders import encode_all
from dicom_node.stow_door import StowDoor
from dicom_node.uploads import UploadDoor
from storage.circuits import CircuitRepository
from storage.database import Database
from storage.errors import StorageFull
from storage.files import FileStore
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from tests.listener import listening
from tests.mr_series import mr_series
from tests.orthanc import OrthancServer
from tests.outbox import outbox
from tests.report_builders import STAMP, evidence_of, full_report
from web.app import create_app
from web.health import Check, HealthReport
from web.passwords import PasswordHasher
from web.settings import WebSettings

SERIES = mr_series()
STUDY = str(SERIES.datasets[0].StudyInstanceUID)
TOKEN = "a-token-of-the-tests-with-40-characters!!"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def served(app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """The web with its DICOMweb inbox over a real store."""

    url: str
    files: FileStore
    studies: StudyRepository

    def stored(self) -> dict[str, bytes]:
        rows = self.studies.instances_of(STUDY)
        return {row.sop_instance_uid: split_part10(self.files.read(row.path))[1] for row in rows}

    def post(self, body: bytes, *, path: str = "", **headers: str | bytes) -> httpx.Response:
        kind = 'multipart/related; type="application/dicom"; boundary=B'
        return httpx.post(
            f"{self.url}/dicom-web/studies{path}",
            content=body,
            headers={"Content-Type": kind, **BEARER, **headers},
            timeout=30,
        )


@contextmanager
def inbox(folder: Path, database: Database, **settings: object) -> Iterator[Inbox]:
    files = FileStore(folder / "store", min_free_bytes=0)
    studies = StudyRepository(database)
    ingest = Ingest(files, studies)
    app = create_app(
        settings=WebSettings(token_secret="s" * 40, cookie_secure=False, inbox_token=TOKEN, **settings),  # type: ignore[arg-type]
        database=database,
        files=files,
        health=lambda: HealthReport(checks=(Check(name="database", ok=True, detail="SQLite"),), models=()),
        ingest=UploadDoor(ingest, ScanRepository(database)),
        stow=StowDoor(ingest, files),
        hasher=PasswordHasher(4),
    )
    with served(app) as url:
        yield Inbox(url=url, files=files, studies=studies)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Inbox]:
    with outbox(tmp_path) as box, inbox(tmp_path, box.database, max_object_bytes=1 << 20) as made:
        yield made


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return SERIES.write(tmp_path / "series")


def multipart(*parts: bytes, kind: bytes = b"application/dicom", end: bytes = b"\r\n--B--\r\n") -> bytes:
    begun = [b"--B\r\nContent-Type: " + kind + b"\r\n\r\n" + part for part in parts]
    return b"\r\n".join(begun) + end


def uids(answer: dict[str, dict[str, list[dict[str, dict[str, list[str]]]]]], tag: str) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


# As sender.


def test_results_go_to_orthanc_by_stow_and_are_what_was_made(tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    results = encode_all(full_report(SERIES.grid), evidence_of(SERIES), STAMP)
    with outbox(tmp_path) as box, OrthancServer(debian_tool("Orthanc"), tmp_path) as pacs:
        box.owe(results, ["vna"])
        to = Destination(name="vna", kind="dicomweb", url=pacs.dicomweb_url, timeout_s=10.0)
        breaker = Breaker(CircuitRepository(box.database), BreakerPolicy(), box.clock)
        sending = Deliverer(
            box.deliveries, {"vna": sender_for(to, "BTNODE")}, box.resolve, breaker=breaker, clock=box.clock
        )
        pacs.stop(hard=True)
        assert sending.deliver_due() == DeliveryTally(put_off=2)
        pacs.start()
        box.clock.advance(60)
        assert sending.deliver_due() == DeliveryTally(sent=2)
        for result in results:
            (held,) = pacs.datasets(result.kind)
            assert held == dcmread(BytesIO(result.to_bytes()))
        # Once more, as after an answer that was lost: the PACS holds one of each.
        for row in box.deliveries.of_scan(box.scan_id):
            box.deliveries.owe_once_more(row.id)
        assert sending.deliver_due() == DeliveryTally(sent=2)
        assert (len(pacs.instances("SEG")), len(pacs.instances("SR"))) == (1, 1)


# As receiver.


def test_dicomweb_client_stores_a_series_bit_for_bit(node: Inbox, paths: list[Path]) -> None:
    client = DICOMwebClient(f"{node.url}/dicom-web", headers=BEARER)
    answer = client.store_instances([dcmread(path) for path in paths], STUDY)
    assert [str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence] == [
        str(dataset.SOPInstanceUID) for dataset in SERIES.datasets
    ]
    assert "FailedSOPSequence" not in answer
    assert node.stored() == {str(dcmread(path).SOPInstanceUID): split_part10(path.read_bytes())[1] for path in paths}
    assert list((node.files.root / "spool").iterdir()) == []
    client._session.close()


def test_orthanc_sends_to_the_inbox(
    node: Inbox, paths: list[Path], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    web = {
        "Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado",
        "Servers": {"node": {"Url": f"{node.url}/dicom-web/", "HttpHeaders": BEARER}},
    }  # fmt: skip
    with OrthancServer(debian_tool("Orthanc"), tmp_path, options={"DicomWeb": web}) as orthanc:
        orthanc.store(paths)
        orthanc.post("/dicom-web/servers/node/stow", {"Resources": orthanc.instances(), "Synchronous": True})
    assert set(node.stored()) == {str(dataset.SOPInstanceUID) for dataset in SERIES.datasets}


def test_an_object_by_stow_is_the_same_as_by_cstore(tmp_path: Path, paths: list[Path]) -> None:
    with listening(tmp_path) as here:
        (sent,) = DicomSender(here.address, "MODALITY").send([outgoing_file(paths[0])])
        assert sent.verdict is Verdict.SENT
        door = StowDoor(here.ingest, here.files)
        assert door.store_part(paths[0], calling="STOW", study_instance_uid=STUDY).failure is None
        assert len(here.studies.instances_of(STUDY)) == 1
        assert here.studies.conflicts_of(STUDY) == []


def test_each_part_has_its_own_fate(node: Inbox, paths: list[Path]) -> None:
    other = mr_series(study="2").write(paths[0].parent / "other")[0]
    answer = node.post(
        multipart(paths[0].read_bytes(), other.read_bytes(), b"no dicom at all", paths[1].read_bytes()),
        path=f"/{STUDY}",
    )
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/dicom+json")
    told = answer.json()
    assert uids(told, "00081199") == [str(dataset.SOPInstanceUID) for dataset in SERIES.datasets[:2]]
    assert [item["00081197"]["Value"] for item in told["00081198"]["Value"]] == [[0xA900]]
    assert [item["00081197"]["Value"] for item in told["0008119A"]["Value"]] == [[0xC000]]
    assert len(node.stored()) == 2
    again = node.post(multipart(paths[0].read_bytes()))
    assert (again.status_code, len(node.stored())) == (200, 2)
    none = node.post(multipart(b"x" * 500))
    assert (none.status_code, "00081199" in none.json()) == (409, False)


def test_compressed_objects_are_stored_as_sent(node: Inbox) -> None:
    dataset = mr_series(rows=16, columns=16).datasets[0]
    dataset.compress(JPEGLSLossless)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert node.post(multipart(buffer.getvalue())).status_code == 200
    (row,) = node.studies.instances_of(STUDY)
    assert row.transfer_syntax_uid == JPEGLSLossless
    assert node.stored()[row.sop_instance_uid] == split_part10(buffer.getvalue())[1]


def test_only_who_has_the_token_or_is_signed_in_may_store(node: Inbox, paths: list[Path]) -> None:
    body = multipart(paths[0].read_bytes())
    for header in (
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        "Bearer ütf".encode(),
    ):
        answer = node.post(body, Authorization=header)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (401, "not-signed-in")
    with pytest.raises(Exception, match="no study"):
        node.studies.instances_of(STUDY)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"--B--\r\n", {}, 400),
        (b"garbage", {}, 400),
        (multipart(b"x", end=b""), {}, 400),
        (multipart(b"x", kind=b"application/dicom+json"), {}, 400),
        (b"--B\r\n" + b"X" * 5000 + b": y\r\n\r\nx\r\n--B--\r\n", {}, 400),
        (b"--B\r\n" + b"A: y\r\n" * 20 + b"\r\nx\r\n--B--\r\n", {}, 400),
        (multipart(*[b"x"] * 40), {}, 400),
        (multipart(b"x" * (1 << 21)), {}, 413),
        (multipart(b"x"), {"Content-Type": "application/dicom"}, 415),
        (multipart(b"x"), {"Content-Type": "multipart/related"}, 415),
        (multipart(b"x"), {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=B'}, 415),
        (multipart(b"x"), {"Content-Type": "multipart/related; boundary=" + "B" * 201}, 415),
    ],
)
def test_what_is_no_stow_request_is_refused(tmp_path: Path, body: bytes, headers: dict[str, str], status: int) -> None:
    with (
        outbox(tmp_path) as box,
        inbox(tmp_path, box.database, max_object_bytes=1 << 20, max_archive_members=30) as node,
    ):
        assert node.post(body, **headers).status_code == status
        assert list((node.files.root / "spool").iterdir()) == []


def test_a_body_that_breaks_off_leaves_what_was_whole(node: Inbox, paths: list[Path]) -> None:
    body = multipart(paths[0].read_bytes(), paths[1].read_bytes())
    host, port = node.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            'Content-Type: multipart/related; type="application/dicom"; boundary=B\r\n'
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:-300])
    deadline = time.monotonic() + 10
    while list((node.files.root / "spool").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((node.files.root / "spool").iterdir()) == []
    stored = {path.name for path in (node.files.root / "studies").rglob("*.dcm")}
    assert len(stored) <= 1


def test_a_full_disk_is_told_and_nothing_is_half_kept(
    node: Inbox, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise StorageFull("full")

    with monkeypatch.context() as cut:
        cut.setattr(node.files, "check_room", full)
        answer = node.post(multipart(paths[0].read_bytes()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert json.loads(answer.content)["0008119A"]["Value"][0]["00081197"]["Value"] == [0xA700]
    assert node.post(multipart(paths[0].read_bytes())).status_code == 200
