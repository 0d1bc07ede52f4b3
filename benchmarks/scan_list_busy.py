"""The list of scans while four associations arrive and studies are analysed: latencies of one client, signed in.

python -m benchmarks.scan_list_busy [--scans 100000] [--seconds 60]

The node is `tumor-node serve` with the released models, on SQLite. Four modalities send phantom studies without a
pause, each its own over and over, so that new images and known ones arrive; the first of each is analysed. Beside it,
in the same run and before anything arrives, the same list at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.scan_list import Target, fill, latencies_ms, token
from benchmarks.scan_list_server import NAME, PASSWORD
from dicom_node.config import ENVIRONMENT_PREFIX, NodeConfig, load_config
from dicom_node.demo_pacs import free_port
from dicom_node.outbound.sending import Destination
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.store import Store, open_store
from storage.lifecycle import ScanState
from storage.vocabulary import AccountStatus, Role
from tests.acceptance.nodes import REPOSITORY, send
from web.passwords import PasswordHasher

_ASSOCIATIONS = 4
_PAGE = 50
_SLICE = 50


def configured(folder: Path) -> NodeConfig:
    """A node of its own on loopback, in `folder`."""
    path = folder / "config.yaml"
    values = {
        "node": {"port": free_port()},
        "web": {"port": free_port()},
        "storage": {"root": str(folder / "root")},
        "models": {"folder": str(REPOSITORY / "models"), "cache": str(folder.parent / "btn-model-cache")},
        "assembly": {"series_quiet_s": 1.0},
    }
    path.write_text(yaml.safe_dump(values))
    return load_config(path)


@contextmanager
def serving(config: NodeConfig, folder: Path) -> Iterator[None]:
    """`tumor-node serve` until the block ends, once it is ready: the first time its networks are converted."""
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(folder / "config.yaml")]
    environment = {**os.environ, f"{ENVIRONMENT_PREFIX}WEB__SECRET": "b" * 40}
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, env=environment)
    try:
        deadline = time.monotonic() + 300
        while not _is_ready(config.web.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the node did not start:\n" + (folder / "node.log").read_text()[-3000:])
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Modalities:
    """Four senders that go on until told to stop. sent: objects acknowledged."""

    def __init__(self, config: NodeConfig, folder: Path) -> None:
        title, port = config.node.ae_title, config.node.port
        self._address = Destination(name="node", ae_title=title, host="127.0.0.1", port=port, timeout_s=30)
        self._studies = []
        for number in range(_ASSOCIATIONS):
            study = make_study(31, "siemens", size="small", clutter=False, salt=f"busy-{number}")
            self._studies.append([p for series in write_study(folder / str(number), study) for p in series.paths])
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.sent = 0

    def _send(self, paths: list[Path]) -> None:
        while not self._stop.is_set():
            acknowledged = len(send(self._address, paths))
            with self._lock:
                self.sent += acknowledged

    def __enter__(self) -> Modalities:
        self._threads = [threading.Thread(target=self._send, args=(paths,)) for paths in self._studies]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def watched(target: Target, seconds: float, store: Store) -> tuple[list[float], list[float]]:
    """Latencies in ms over so many seconds: all, and those of slices at whose end a study was being analysed."""
    found: list[float] = []
    analysing: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        latencies = asyncio.run(latencies_ms([target], _SLICE))[0]
        found += latencies
        if store.scans.in_states(ScanState.ANALYSING):
            analysing += latencies
    return found, analysing


def line(name: str, found: list[float]) -> str:
    """One line of figures."""
    found = sorted(found)
    p99 = found[int(len(found) * 0.99) - 1]
    return f"{name:<38} {len(found):6} answers   p50 {statistics.median(found):7.2f} ms   p99 {p99:7.2f} ms"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = configured(folder)
        store = open_store(config)
        fill(config.storage.rows_url, chosen.scans)
        store.users.create(
            username=NAME,
            email="bench@localhost",
            hashed_password=PasswordHasher().hash(PASSWORD),
            role=Role.DOCTOR,
            status=AccountStatus.ACTIVE,
        )
        modalities = Modalities(config, folder / "studies")
        with serving(config, folder):
            port = config.web.port
            target = Target(port=port, path=f"/api/scans?limit={_PAGE}", token=token(port))
            print(line("at rest", watched(target, 5.0, store)[0]), flush=True)
            started = time.monotonic()
            with modalities:
                busy, analysing = watched(target, chosen.seconds, store)
                pace = modalities.sent / (time.monotonic() - started)
        store.database.close()
        if not analysing:
            raise RuntimeError("no study was analysed meanwhile; give it more --seconds")
        print(line("busy", busy))
        print(line("of these, while a study was analysed", analysing))
        print(f"{_ASSOCIATIONS} associations, {pace:.0f} objects/s")


if __name__ == "__main__":
    main()
