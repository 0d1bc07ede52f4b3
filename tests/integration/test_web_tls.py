"""HTTPS by configuration: `tumor-node web` as a process, asked over TLS; settings that cannot be used are refused."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dicom_node.config import ConfigurationInvalid, load_config
from dicom_node.inbound.tls import TlsInvalid
from dicom_node.node import build_web, web_tls
from dicom_node.store import open_store
from tests.certificates import Authority
from tests.orthanc import free_port

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Authority:
    return Authority(debian_tool("openssl"), tmp_path_factory.mktemp("ca"))


def written(folder: Path, **web: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"storage": {"root": str(folder / "root")}, "web": web}))
    return path


@contextmanager
def running(config: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "dicom_node", "web", "--config", str(config)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        ends = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < ends:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_a_browser_that_trusts_the_authority_is_answered_over_tls_alone(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("node")
    port = free_port()
    config = written(tmp_path, port=port, tls={"certificate": str(certificate), "key": str(key)})
    trusted = ssl.create_default_context(cafile=str(authority.certificate))
    with running(config, port):
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, timeout=60) as client:
            assert client.get("/health/live").status_code == 200
            page = client.get("/sign-in")
        assert "max-age=" in page.headers["Strict-Transport-Security"]
        cookies = page.headers.get_list("set-cookie")
        assert cookies
        assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in cookies)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://localhost:{port}/health/live", timeout=60)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/health/live", timeout=60)
        old = ssl.create_default_context(cafile=str(authority.certificate))
        old.set_ciphers("AES256-SHA")  # no forward secrecy, and TLS 1.2 at most
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port), 30) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="localhost")


def test_files_that_cannot_be_used_are_named(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("right")
    _, other = authority.issue("other")
    locked = tmp_path / "locked.key"
    command = [authority.openssl, "ec", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    for chain, private in (
        (certificate, tmp_path / "none"),
        (certificate, other),
        (garbage, key),
        (certificate, locked),
    ):
        config = load_config(written(tmp_path, tls={"certificate": str(chain), "key": str(private)}))
        with pytest.raises(TlsInvalid) as refused:
            web_tls(config)
        assert str(chain) in str(refused.value)
        assert str(private) in str(refused.value)
        assert refused.value.code == "tls-invalid"


def test_the_command_ends_with_one_line(tmp_path: Path, authority: Authority) -> None:
    certificate, _ = authority.issue("alone")
    config = written(tmp_path, tls={"certificate": str(certificate), "key": str(tmp_path / "none.key")})
    command = [sys.executable, "-m", "dicom_node", "web", "--config", str(config)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 1
    assert "tls-invalid" in ended.stderr
    assert "none.key" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("tls", [{"certificate": "a.pem"}, {"key": "a.key"}, {"certificat": "a.pem"}])
def test_half_of_a_pair_and_an_unknown_key_are_refused(tmp_path: Path, tls: dict[str, str]) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"web\.tls"):
        load_config(written(tmp_path, tls=tls))


def test_a_setting_the_web_application_refuses_is_an_invalid_configuration(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, limits_url="nonsense://x"))
    store = open_store(config)
    with pytest.raises(ConfigurationInvalid, match=r"web\.limits_url"):
        build_web(config, store)
    store.database.close()
