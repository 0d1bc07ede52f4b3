"""`tumor-node doctor` against faults that were planted, with real peers: each has to be found by its name."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from alembic import command
from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.config import load_config
from dicom_node.doctor.examination import Scope, examine_node
from dicom_node.doctor.findings import Finding, Verdict
from dicom_node.doctor.report import as_json, is_well, line
from dicom_node.store import open_store
from storage.clock import Clock, utc_now
from storage.database import upgrade
from storage.schema import _connection, migration_config
from tests.acceptance.nodes import REPOSITORY
from tests.certificates import Authority
from tests.orthanc import Modality, OrthancServer, free_port

Make = Callable[..., Path]
MODELS = REPOSITORY / "models"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[OrthancServer]:
    node = Modality(name="node", ae_title="BTNODE", port=free_port())
    with OrthancServer(debian_tool("Orthanc"), tmp_path_factory.mktemp("orthanc"), modalities=[node]) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Authority:
    made = Authority(debian_tool("openssl"), tmp_path_factory.mktemp("certificates"))
    made.issue("node")
    made.issue("expired", days=-1)
    return made


@pytest.fixture
def make(tmp_path: Path, pacs: OrthancServer) -> Make:
    """Writes a configuration of a healthy node with the sections given in place of its own."""

    def write(**sections: object) -> Path:
        values = {
            "node": {"port": 0},
            "storage": {"root": str(tmp_path / "root")},
            "models": {"folder": str(MODELS)},
            "destinations": [dicom(pacs.dicom_port)],
            **sections,
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def dicom(port: int, **changes: object) -> dict[str, object]:
    return {
        "name": "pacs", "ae_title": "TESTPACS", "host": "127.0.0.1", "port": port, "timeout_s": 5, **changes
    }  # fmt: skip


def examined(path: Path, clock: Clock = utc_now) -> list[Finding]:
    return list(examine_node(load_config(path), Scope(load_models=False, study_within_s=None), clock))


def faults(findings: list[Finding]) -> dict[str, str]:
    """Name of each fault that has to be mended, with its line."""
    return {str(one.fault): line(one) for one in findings if one.verdict is Verdict.WRONG}


def warnings(findings: list[Finding]) -> set[str]:
    return {str(one.fault) for one in findings if one.verdict is Verdict.WARNING}


@contextmanager
def storescp(tool: str, folder: Path, *options: str | Path) -> Iterator[int]:
    """DCMTK's receiver under any title, by its port."""
    port = free_port()
    process = subprocess.Popen(
        [tool, *map(str, options), "-od", str(folder), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_healthy_node_is_well(make: Make, pacs: OrthancServer) -> None:
    port = free_port()
    peers = [{"ae_title": "TESTPACS", "addresses": ["127.0.0.1"]}]
    path = make(node={"port": port, "peers": peers}, query={"destination": "pacs"})
    upgrade(load_config(path).storage.rows_url)
    findings = examined(path)
    assert faults(findings) == {}
    assert is_well(findings)
    told = "\n".join(line(one) for one in findings)
    assert f"port {port}, started for this examination: answers as 'BTNODE'" in told
    assert "destination pacs takes: Segmentation Storage" in told
    assert "query: pacs answers" in told
    assert as_json(findings, utc_now())["faults"] == []


def test_a_wrong_title_at_the_destination(make: Make, pacs: OrthancServer) -> None:
    found = faults(examined(make(destinations=[dicom(pacs.dicom_port, ae_title="WRONG")])))
    assert set(found) == {"called-ae-unknown"}
    assert "called 'WRONG'" in found["called-ae-unknown"]


def test_a_closed_port_and_an_unknown_host(make: Make) -> None:
    there = [dicom(free_port()), dicom(104, name="vna", host="no-such-host.invalid")]
    assert set(faults(examined(make(destinations=there)))) == {"port-closed", "host-unknown"}


def test_a_destination_that_takes_no_seg(make: Make, tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    profile = tmp_path / "storescp.cfg"
    profile.write_text(
        "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianImplicit\n"
        "[[PresentationContexts]]\n[NoSeg]\nPresentationContext1 = VerificationSOPClass\\Plain\n"
        "PresentationContext2 = 1.2.840.10008.5.1.4.1.1.88.34\\Plain\n"
        "[[Profiles]]\n[Default]\nPresentationContexts = NoSeg\n"
    )
    with storescp(debian_tool("storescp"), tmp_path, "-xf", profile, "Default") as port:
        path = make(destinations=[dicom(port)], query={"destination": "pacs"})
        findings = examined(path)
    assert set(faults(findings)) == {"sop-class-refused", "query-failed"}
    refused = [one.detail for one in findings if str(one.fault) == "sop-class-refused"]
    assert "Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4)" in refused[0]
    assert "Implicit VR Little Endian: SOP class not supported" in refused[0]
    assert any("takes: Comprehensive 3D SR Storage" in line(one) for one in findings)


@pytest.mark.parametrize(
    ("server", "changes", "fault"),
    [
        ("expired", {}, "peer-certificate-expired"),
        ("node", {"ca_file": "other-ca"}, "wrong-ca"),
        ("node", {"host": "localhost.localdomain"}, "certificate-for-another-name"),
        ("node", {}, "client-certificate-refused"),
        ("node", {"certificate": "node"}, None),
        ("node", {"certificate": "expired"}, "certificate-expired"),
    ],
)
def test_what_is_wrong_with_tls_at_a_destination(
    make: Make,
    tmp_path: Path,
    authority: Authority,
    debian_tool: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    changes: dict[str, str],
    fault: str | None,
) -> None:
    folder = authority.folder
    told: dict[str, object] = {"tls": True, "ca_file": str(authority.certificate)}
    if "ca_file" in changes:
        told["ca_file"] = str(Authority(authority.openssl, tmp_path, changes["ca_file"]).certificate)
    if "host" in changes:
        # A name of this machine that is not in the certificate; name servers are not asked.
        ask = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: ask(host.replace(changes["host"], "127.0.0.1"), *a, **k)
        )
        told["host"] = changes["host"]
    if "certificate" in changes:
        name = changes["certificate"]
        told |= {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.key")}
    own = ("+tls", folder / f"{server}.key", folder / f"{server}.pem", "+cf", authority.certificate)
    with storescp(debian_tool("storescp"), tmp_path, *own) as port:
        found = faults(examined(make(destinations=[dicom(port, **told)])))
    assert set(found) >= ({fault} if fault else set())
    assert len(found) <= (0 if fault is None else 2)


def test_tls_where_none_is_spoken(make: Make, pacs: OrthancServer, authority: Authority) -> None:
    there = dicom(pacs.dicom_port, tls=True, ca_file=str(authority.certificate))
    assert set(faults(examined(make(destinations=[there])))) == {"tls-not-spoken"}


@pytest.mark.parametrize(
    ("certificate", "key", "fault"),
    [
        ("expired", "expired", "certificate-expired"),
        ("node", "expired", "certificate-key-mismatch"),
        ("absent", "node", "certificate-unreadable"),
        ("node", "node", None),
    ],
)
def test_the_listeners_own_certificate(
    make: Make, authority: Authority, certificate: str, key: str, fault: str | None
) -> None:
    folder = authority.folder
    tls = {
        "certificate": str(folder / f"{certificate}.pem"), "key": str(folder / f"{key}.key"),
        "client_ca": str(authority.certificate), "client_certificates": "required",
    }  # fmt: skip
    findings = examined(make(node={"port": free_port(), "tls": tls}))
    assert set(faults(findings)) == ({fault} if fault else set())
    if fault is None:
        assert any(one.what == "listener" and one.verdict is Verdict.OK for one in findings)
        later = examined(make(node={"port": 0, "tls": tls}), lambda: datetime.now(UTC) + timedelta(days=80))
        assert "certificate-expires-soon" in warnings(later)


def test_a_disk_that_is_nearly_full(make: Make, tmp_path: Path) -> None:
    found = faults(examined(make(storage={"root": str(tmp_path / "root"), "min_free_mb": 1 << 40})))
    assert set(found) == {"disk-low"}


def test_a_folder_that_cannot_be_written(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    open_store(load_config(path)).database.close()
    if os.geteuid() == 0:
        # Root may write everywhere: the fault is planted where the file is named.
        link = os.link

        def refuse(source: object, target: object, **more: object) -> None:
            if "studies" in str(target):
                raise PermissionError(13, "Permission denied")
            link(source, target, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "link", refuse)
    else:
        (tmp_path / "root" / "studies").chmod(0o500)
    found = faults(examined(path))
    assert set(found) == {"folder-unwritable"}
    assert "studies" in found["folder-unwritable"]
    (tmp_path / "root" / "studies").chmod(0o750)


def test_a_database_of_an_earlier_release_and_one_that_is_away(make: Make, tmp_path: Path) -> None:
    path = make()
    url = load_config(path).storage.rows_url
    (tmp_path / "root").mkdir(exist_ok=True)
    with _connection(url, writes=True) as connection:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    found = faults(examined(path))
    assert set(found) == {"database-not-migrated"}
    assert "is at 0001" in found["database-not-migrated"]
    away = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing"
    path = make(storage={"root": str(tmp_path / "root"), "database_url": away})
    assert set(faults(examined(path))) == {"database-unreachable"}


def test_models_that_are_missing_or_changed(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    entry = next(one for one in json.loads((MODELS / "manifest.json").read_text())["models"] if one["task"] == "type")
    entries = [{**entry, "name": "gone", "file": "gone.h5"}, {**entry, "name": "other", "file": "other.h5"}]
    (folder / "manifest.json").write_text(json.dumps({"models": entries}))
    (folder / "other.h5").write_bytes(b"other bytes")
    found = faults(examined(make(models={"folder": str(folder)})))
    assert set(found) == {"model-missing", "model-hash-wrong"}
    assert "model gone" in found["model-missing"]
    assert "model other" in found["model-hash-wrong"]


class _Studies(BaseHTTPRequestHandler):
    """A DICOMweb service that finds nothing and says what time it is, which Orthanc does not."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Studies)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_clock_that_stands_in_the_past(make: Make, service: str) -> None:
    path = make(destinations=[{"name": "web", "kind": "dicomweb", "url": service}])
    store = open_store(load_config(path))
    store.audit.append("test", "something happened")
    store.database.close()
    yesterday = faults(examined(path, lambda: datetime.now(UTC) - timedelta(days=1)))
    assert set(yesterday) == {"clock-wrong", "clock-differs-from-destination"}
    assert "the newest event is of" in yesterday["clock-wrong"]
    ahead = faults(examined(path, lambda: datetime.now(UTC) + timedelta(hours=1)))
    assert set(ahead) == {"clock-differs-from-destination"}
    assert "behind ours" in ahead["clock-differs-from-destination"]


def test_peers_that_leave_the_pacs_out(make: Make, pacs: OrthancServer) -> None:
    path = make(node={"port": 0, "peers": ["CT1"]}, query={"destination": "pacs"})
    found = faults(examined(path))
    assert set(found) == {"peers-exclude-pacs"}
    assert "AE 'TESTPACS' from 127.0.0.1 is not in peers" in found["peers-exclude-pacs"]
    # A destination that never has to come to us may be left out.
    assert "peers-exclude-pacs" in warnings(examined(make(node={"port": 0, "peers": ["CT1"]})))
    only = [{"ae_title": "TESTPACS", "services": ["echo"]}]
    path = make(node={"port": 0, "peers": only}, destinations=[dicom(pacs.dicom_port, commitment="request")])
    assert "not for commitment" in faults(examined(path))["peers-exclude-pacs"]


def test_a_port_that_another_program_has(make: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = faults(examined(make(node={"port": other.getsockname()[1]})))
    assert set(found) == {"listener-port-taken"}


def test_a_kind_that_is_none(make: Make, pacs: OrthancServer) -> None:
    assert set(faults(examined(make(destinations=[dicom(pacs.dicom_port, kinds=["SEG", "RTSTRUCT"])])))) == {
        "result-kind-unknown"
    }


def test_the_command_names_faults_and_writes_json(make: Make, tmp_path: Path) -> None:
    path = make(query={"destination": "archive"})
    report = tmp_path / "report.json"
    ended = CliRunner().invoke(application(), ["doctor", "--config", str(path), "--no-study", "--json", str(report)])
    assert ended.exit_code == 1
    assert "WRONG    configuration: [configuration-invalid]" in ended.output
    told = json.loads(report.read_text())
    assert (told["well"], told["faults"]) == (False, ["configuration-invalid"])
    assert "query.destination: 'archive' is not a destination" in told["findings"][0]["detail"]
    path = make(query={"destination": "pacs"})
    ended = CliRunner().invoke(application(), ["doctor", "--config", str(path), "--no-study", "--quick", "--json", "-"])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["well"] is True
