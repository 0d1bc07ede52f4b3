"""Results over TLS to a real peer on loopback: trusted where it is named, refused where it is not."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.outbound.scu import echo
from dicom_node.outbound.sending import Destination
from dicom_node.outbound.tls import DestinationTlsInvalid, client_context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate each for the peer and for the node."""
    made = tmp_path_factory.mktemp("tls")
    for name in ("peer", "node"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made / f"{name}.key"),
             "-out", str(made / f"{name}.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
    return made


@contextmanager
def peer(folder: Path, *, clients: bool = False) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "peer.pem", folder / "peer.key")
    if clients:
        context.load_verify_locations(folder / "node.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    ae = AE(ae_title="PEER")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def to(port: int, **changes: object) -> Destination:
    known = {"name": "pacs", "ae_title": "PEER", "host": "127.0.0.1", "port": port, "timeout_s": 5.0, "tls": True}
    return Destination(**{**known, **changes})


def test_a_peer_is_trusted_by_its_certificate_alone(folder: Path) -> None:
    with peer(folder) as port:
        assert echo(to(port, ca_file=folder / "peer.pem"), "BTNODE").ok
        assert not echo(to(port, ca_file=folder / "node.pem"), "BTNODE").ok
        assert not echo(to(port), "BTNODE").ok
        assert not echo(to(port, tls=False), "BTNODE").ok


def test_the_name_must_be_the_certificates(folder: Path) -> None:
    with peer(folder) as port:
        assert not echo(to(port, ca_file=folder / "peer.pem", host="localhost"), "BTNODE").ok


def test_the_node_shows_its_own_certificate_where_one_is_asked_for(folder: Path) -> None:
    with peer(folder, clients=True) as port:
        shown = {"certificate": folder / "node.pem", "key": folder / "node.key"}
        assert echo(to(port, ca_file=folder / "peer.pem", **shown), "BTNODE").ok
        assert not echo(to(port, ca_file=folder / "peer.pem"), "BTNODE").ok


def test_files_that_cannot_be_used_are_named_by_their_destination(folder: Path) -> None:
    with pytest.raises(DestinationTlsInvalid, match="'pacs'"):
        client_context(to(1, ca_file=folder / "absent.pem"))
    with pytest.raises(DestinationTlsInvalid, match="'pacs'"):
        client_context(to(1, certificate=folder / "peer.pem", key=folder / "node.key"))


def test_old_versions_and_weak_ciphers_are_out() -> None:
    context = client_context(to(1))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert all(
        "GCM" in one["name"] or "CHACHA20" in one["name"] or "CCM" in one["name"] for one in context.get_ciphers()
    )
