"""A PostgreSQL server of a test's own: Debian's binaries, a temporary folder, loopback and a private socket."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

BINARIES = Path("/usr/lib/postgresql/15/bin")


def require_postgres() -> None:
    """Skip where PostgreSQL is not installed; in CI its absence is a failure."""
    if (BINARIES / "postgres").exists():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"no PostgreSQL at {BINARIES} (required in CI)")
    pytest.skip(f"no PostgreSQL at {BINARIES}: apt-get install postgresql")


def _as_postgres() -> list[str]:
    """The server refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a database 'postgres' on a running server, without durability: it is only for tests."""
    folder = Path(tempfile.mkdtemp(prefix="btn-postgres-"))
    data = folder / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        initdb = [str(BINARIES / "initdb"), "-D", str(data), "-U", "node", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(_as_postgres() + initdb, check=True, capture_output=True, cwd=folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off"}
        server = [str(BINARIES / "postgres"), "-D", str(data), "-p", str(port)]
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(_as_postgres() + server, stdout=log, stderr=log, cwd=folder)
            try:
                _wait(port, process, folder / "log")
                yield f"postgresql+psycopg://node@127.0.0.1:{port}/postgres"
            finally:
                pid = int((data / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGQUIT)  # at once: nothing here is to last
                process.wait(timeout=20)
    finally:
        shutil.rmtree(folder)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="node", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not start: {log.read_text()}")


def empty_database(server_url: str, name: str) -> str:
    """A new, empty database on the server; its URL."""
    address = server_url.removeprefix("postgresql+psycopg://").rpartition("/")[0]
    with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"postgresql+psycopg://{address}/{name}"
