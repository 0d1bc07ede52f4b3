"""A Redis of a test's own: Debian's binary on loopback, nothing written to disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.orthanc import free_port


@contextmanager
def redis_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of a running server, and its process. Skips where there is none; in CI its absence is a failure."""
    program = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no redis-server (required in CI)")
        pytest.skip("no redis-server: apt-get install redis-server")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", "/tmp"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(10)
