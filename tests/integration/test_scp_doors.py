"""The doors of the listener against strangers: peers and services, TLS, silent connections."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.peers import Peer, ServiceName
from dicom_node.inbound.scp import StorageServer
from dicom_node.inbound.tls import TlsFiles, TlsInvalid, server_context
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.refusals import RefusalRepository
from storage.studies import StudyRepository
from tests.certificates import Authority


class Node:
    def __init__(self, folder: Path, **options):
        self.database = Database(f"sqlite:///{folder}/node.db")
        self.files = FileStore(folder / "store", min_free_bytes=0)
        ingest = Ingest(self.files, StudyRepository(self.database))
        self.refusals = RefusalRepository(self.database)
        self.server = StorageServer(
            ae_title="BTNODE", host="127.0.0.1", port=0, ingest=ingest, refusals=self.refusals, **options
        )
        self.server.start()
        self.port = self.server.port

    def stored(self):
        return sorted((self.files.root / "studies").rglob("*.dcm"))

    def refused(self):
        deadline = time.monotonic() + 5
        while not (found := self.refusals.newest()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def start(tmp_path, empty_database):
    nodes = []

    def begin(**options):
        shutil.copy(empty_database, tmp_path / "node.db")
        nodes.append(Node(tmp_path, **options))
        return nodes[-1]

    yield begin
    for node in nodes:
        node.server.stop(drain_s=1)
        node.database.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory, debian_tool):
    """A CA with a server's and a client's certificate, and a client's of another CA. File names without suffix."""
    folder = tmp_path_factory.mktemp("certificates")

    ours, others = (Authority(debian_tool("openssl"), folder, name) for name in ("ca", "other-ca"))
    for name in ("server", "client"):
        ours.issue(name)
    others.issue("stranger")
    return folder


def context(certificates, clients):
    files = TlsFiles(
        certificate=certificates / "server.pem",
        key=certificates / "server.key",
        client_ca=certificates / "ca.pem",
        clients=clients,
    )
    return server_context(files)


def run(tool, *arguments):
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def echo(debian_tool, node, title, *more):
    return run(debian_tool("echoscu"), *more, "-aet", title, "-aec", "BTNODE", "127.0.0.1", node.port).returncode == 0


def test_a_stranger_is_refused_in_words_a_person_can_act_on(start, debian_tool):
    node = start(peers=(Peer(ae_title="MODALITY"), Peer(ae_title="FAR", networks=("10.0.0.0/8",))))
    assert echo(debian_tool, node, "MODALITY")
    assert not echo(debian_tool, node, "PACS1")
    assert not echo(debian_tool, node, "PACS1")
    assert not echo(debian_tool, node, "FAR")
    time.sleep(1.2)
    said = {row.text: row.count for row in node.refused()}
    assert said == {
        "AE 'PACS1' from 127.0.0.1 is not in peers": 2,
        "AE 'FAR' is in peers, but not from 127.0.0.1: its addresses are 10.0.0.0/8": 1,
    }


class Lines(logging.Handler):
    """Takes a logger's lines itself, whatever another test did to the root's handlers and level."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def test_a_title_with_line_breaks_forges_no_line(start, monkeypatch):
    lines, logger = Lines(), logging.getLogger("dicom_node.inbound.refusal_log")
    monkeypatch.setattr(logger, "handlers", [lines])
    monkeypatch.setattr(logger, "level", logging.WARNING)
    monkeypatch.setattr(logger, "disabled", False)
    logger.manager._clear_cache()
    node = start(peers=(Peer(ae_title="MODALITY"),))
    called, calling = b"BTNODE".ljust(16), b"X\r\nrefused: OK\x1b["
    request = b"\x00\x01\x00\x00" + called + calling + bytes(32) + b"\x10\x00\x00\x15" + b"1.2.840.10008.3.1.1.1"
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(b"\x01\x00" + len(request).to_bytes(4, "big") + request)
        assert connection.recv(1) == b"\x03"
    (row,) = node.refused()
    assert row.text == "AE 'X\\r\\nrefused: OK\\x1b[' from 127.0.0.1 is not in peers"
    assert row.text.isprintable()
    assert row.calling_ae.isprintable()
    deadline = time.monotonic() + 10
    while not (said := [line for line in lines.lines if "refused" in line]) and time.monotonic() < deadline:
        time.sleep(0.02)  # the line is written by the listener's thread
    assert said
    assert all(line.isprintable() for line in said)


def test_a_peer_gets_the_services_it_is_allowed(start, debian_tool, shared_data):
    node = start(peers=(Peer(ae_title="*", networks=("127.0.0.0/8",), services=frozenset({ServiceName.ECHO})),))
    assert echo(debian_tool, node, "ANY")
    image = shared_data / "dicom/pydicom_MR_small/MR_small.dcm"
    assert run(debian_tool("storescu"), "-aet", "CT1", "-aec", "BTNODE", "127.0.0.1", node.port, image).returncode != 0
    assert node.stored() == []
    (refusal,) = node.refused()
    assert refusal.text == "AE 'CT1' from 127.0.0.1 asked for store: its services in peers are echo"


@pytest.mark.parametrize("clients", ["none", "required"])
def test_dcmtk_stores_over_tls(start, debian_tool, shared_data, certificates, clients):
    node = start(tls=context(certificates, clients))
    image = shared_data / "dicom/pydicom_MR_small/MR_small.dcm"
    trust = ("+cf", certificates / "ca.pem")
    own = ("+tls", certificates / "client.key", certificates / "client.pem")
    sent = run(debian_tool("storescu"), *own, *trust, "-aec", "BTNODE", "127.0.0.1", node.port, image)
    assert sent.returncode == 0, sent.stderr
    assert len(node.stored()) == 1
    anonymous = echo(debian_tool, node, "ANY", "+tla", *trust)
    stranger = echo(
        debian_tool, node, "ANY", "+tls", certificates / "stranger.key", certificates / "stranger.pem", *trust
    )
    assert anonymous == (clients == "none")
    assert stranger == (clients == "none")
    assert not echo(debian_tool, node, "ANY")
    assert {row.reason for row in node.refused()} >= {"tls"}


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_tls_is_refused(start, debian_tool, certificates, version):
    node = start(tls=context(certificates, "none"))
    command = [debian_tool("openssl"), "s_client", "-connect", f"127.0.0.1:{node.port}"]
    old = subprocess.run(
        [*command, version, "-cipher", "ALL:@SECLEVEL=0"], input="", capture_output=True, text=True, timeout=20
    )
    assert "BEGIN CERTIFICATE" not in old.stdout
    new = subprocess.run([*command, "-tls1_2"], input="", capture_output=True, text=True, timeout=20)
    assert re.search(r"Cipher\s*: ECDHE-ECDSA-", new.stdout)


def test_a_tls_client_on_the_plain_port_is_told_apart(start, debian_tool, certificates):
    node = start()
    assert not echo(debian_tool, node, "ANY", "+tla", "+cf", certificates / "ca.pem")
    (refusal,) = node.refused()
    assert refusal.text == "127.0.0.1 sent TLS on a port without TLS"


def test_two_hundred_silent_connections_hold_no_thread_and_disturb_nobody(start, debian_tool):
    node = start(association_timeout_s=3.0)
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(200)]
    for connection in silent[::2]:
        connection.sendall(b"\x01\x00\x00\x00\x01\x00" + b"\0" * 50)
    begun = time.monotonic()
    assert echo(debian_tool, node, "ANY")
    assert time.monotonic() - begun < 3
    assert threading.active_count() <= before + 2
    for connection in silent:
        with connection, contextlib.suppress(ConnectionResetError):  # closed with its bytes unread: closed all the same
            connection.settimeout(10)
            assert connection.recv(1) == b""


def test_a_certificate_that_cannot_be_used_is_named(certificates, tmp_path):
    files = TlsFiles(certificate=certificates / "server.pem", key=certificates / "client.key")
    with pytest.raises(TlsInvalid, match=r"server\.pem"):
        server_context(files)
    with pytest.raises(TlsInvalid, match="missing"):
        server_context(TlsFiles(certificate=tmp_path / "missing.pem", key=tmp_path / "missing.key"))
