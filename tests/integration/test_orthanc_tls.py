"""Orthanc over TLS with client certificates, both ways: it stores to our listener, and takes what we send."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from dicom_node.inbound.tls import TlsFiles, server_context
from dicom_node.outbound.obstacles import Obstacle
from dicom_node.outbound.probing import shake_hands
from dicom_node.outbound.scu import DicomSender, echo
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.outbound.tls import client_context
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.refusals import RefusalRepository
from storage.studies import StudyRepository
from tests.certificates import Authority
from tests.mr_series import mr_series
from tests.orthanc import Modality, OrthancServer

SERIES = mr_series()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A listening node and an Orthanc that know one another, and the authority both trust."""

    files: FileStore
    refusals: RefusalRepository
    orthanc: OrthancServer
    authority: Authority
    folder: Path

    def destination(self, **changes: object) -> Destination:
        known: dict[str, object] = {
            "name": "pacs",
            "ae_title": self.orthanc.ae_title,
            "host": "127.0.0.1",
            "port": self.orthanc.dicom_port,
            "timeout_s": 10.0,
            "tls": True,
            "ca_file": self.authority.certificate,
            "certificate": self.folder / "node.pem",
            "key": self.folder / "node.key",
        }
        return Destination(**{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(debian_tool("openssl"), folder)
    authority.issue("node")
    authority.issue("orthanc")
    upgrade(f"sqlite:///{folder / 'node.db'}")
    database = Database(f"sqlite:///{folder / 'node.db'}")
    files, refusals = FileStore(folder / "store", min_free_bytes=0), RefusalRepository(database)
    server = StorageServer(
        ae_title="BTNODE",
        host="127.0.0.1",
        port=0,
        ingest=Ingest(files, StudyRepository(database)),
        refusals=refusals,
        tls=server_context(
            TlsFiles(
                certificate=folder / "node.pem",
                key=folder / "node.key",
                client_ca=authority.certificate,
                clients="required",
            )
        ),
    )
    server.start()
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(folder / "orthanc.pem"),
        "DicomTlsPrivateKey": str(folder / "orthanc.key"),
        "DicomTlsTrustedCertificates": str(authority.certificate),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomModalities": {
            "node": {"AET": "BTNODE", "Host": "127.0.0.1", "Port": server.port, "UseDicomTls": True},
            "plain": {"AET": "BTNODE", "Host": "127.0.0.1", "Port": server.port, "UseDicomTls": False},
        },
    }
    node = Modality(name="node", ae_title="BTNODE", port=server.port)
    with OrthancServer(debian_tool("Orthanc"), folder, modalities=[node], options=options) as orthanc:
        yield Pair(files=files, refusals=refusals, orthanc=orthanc, authority=authority, folder=folder)
    server.stop(drain_s=1)
    database.close()


def test_orthanc_stores_to_us_over_tls_with_its_certificate(pair: Pair) -> None:
    pair.orthanc.store(SERIES.write(pair.folder / "source"))
    pair.orthanc.post("/modalities/node/echo", {})
    (study,) = pair.orthanc.get("/studies")
    pair.orthanc.post("/modalities/node/store", {"Resources": [study], "Synchronous": True})
    assert len(list((pair.files.root / "studies").rglob("*.dcm"))) == len(SERIES.datasets)
    with pytest.raises(urllib.error.HTTPError):
        pair.orthanc.post("/modalities/plain/echo", {})


def test_we_store_to_orthanc_over_tls_with_ours(pair: Pair) -> None:
    paths = SERIES.write(pair.folder / "outgoing")
    assert echo(pair.destination(), "BTNODE").ok
    outcomes = DicomSender(pair.destination(), "BTNODE").send([outgoing_file(path) for path in paths])
    assert {outcome.verdict for outcome in outcomes} == {Verdict.SENT}
    assert len(pair.orthanc.instances()) == len(SERIES.datasets)


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({"ca_file": "other"}, Obstacle.WRONG_CA),
        ({"certificate": None, "key": None}, Obstacle.CLIENT_CERTIFICATE),
        ({"certificate": "other", "key": "other"}, Obstacle.CLIENT_CERTIFICATE),
    ],
)
def test_what_orthanc_will_not_have_is_told_apart(
    pair: Pair, tmp_path: Path, changes: dict[str, str | None], obstacle: Obstacle
) -> None:
    other = Authority(pair.authority.openssl, tmp_path, "other")
    certificate, key = other.issue("stranger")
    files = {"ca_file": other.certificate, "certificate": certificate, "key": key}
    there = pair.destination(**{name: files[name] if value else None for name, value in changes.items()})
    assert not echo(there, "BTNODE").ok
    step = shake_hands(there.host, there.port, client_context(there), 10.0)
    assert step.obstacle is obstacle
