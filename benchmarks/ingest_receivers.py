"""The receivers compared, each in processes of its own, with their CPU time and memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STORESCP, ORTHANC = "/usr/bin/storescp", "/usr/sbin/Orthanc"
_FILED_WITHIN_S = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")

STOCK_PYNETDICOM = """
import sys
from pathlib import Path
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
folder = Path(sys.argv[1])
def store(event):
    dataset = event.dataset
    dataset.file_meta = event.file_meta
    dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
    return 0x0000
ae = AE(ae_title="BENCH")
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
ae.start_server(("127.0.0.1", int(sys.argv[2])), evt_handlers=[(evt.EVT_C_STORE, store)])
"""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """cpu_s: of the answering process and the children it waited for. behind_cpu_s: of processes that work behind the
    answer. peak_mb: of the answering process."""

    cpu_s: float
    behind_cpu_s: float
    peak_mb: float


class Receiver:
    """A receiver at work on `port`."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: dict[str, str], port: int) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self._filed = 0
        self._log = (folder / "log.txt").open("wb")
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)
        _wait_for(port)

    def usage(self) -> Usage:
        """What was used since the start."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return Usage(
            cpu_s=_cpu_s(self._process.pid),
            behind_cpu_s=sum(_cpu_s(int(child)) for child in children),
            peak_mb=peak_kb / 1024,
        )

    def settle(self, received: int) -> float:
        """Seconds until `received` more objects are filed, for a receiver that answers before it files."""
        self._filed += received
        begun = time.monotonic()
        filed = self.folder / "root" / "studies"
        while filed.is_dir() and sum(1 for _ in filed.rglob("*.dcm")) < self._filed:
            if time.monotonic() - begun > _FILED_WITHIN_S:
                raise RuntimeError(f"{self.name} has not filed what it received within {_FILED_WITHIN_S:g} s")
            time.sleep(0.1)
        return time.monotonic() - begun

    def stop(self) -> None:
        """End it; what it stored is removed."""
        self._process.terminate()
        self._process.wait(60)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_receivers(
    folder: Path, associations: int, *, nagle: bool, paths: Sequence[str] = ("fast",)
) -> list[Receiver]:
    """storescp first: the ratios are to it. nagle: as Debian ships them, without TCP_NODELAY. paths: ours to start."""
    environment = dict(os.environ)
    environment.pop("TCP_NODELAY", None)
    if not nagle:
        environment["TCP_NODELAY"] = "1"

    def start(name: str, command: Sequence[str], port: int) -> Receiver:
        return Receiver(name, command, folder / name, environment, port)

    for name in ("storescp", "orthanc", "pynetdicom-stock", *(f"node-{path}" for path in paths)):
        (folder / name).mkdir(parents=True)
    fork = ["--fork"] if associations > 1 else []
    port = free_port()
    receivers = [start("storescp", [STORESCP, "+B", *fork, "-od", str(folder / "storescp"), str(port)], port)]
    if Path(ORTHANC).exists():
        port = free_port()
        receivers.append(start("orthanc", [ORTHANC, _orthanc_configuration(folder / "orthanc", port)], port))
    port = free_port()
    stock = [sys.executable, "-c", STOCK_PYNETDICOM, str(folder / "pynetdicom-stock"), str(port)]
    receivers.append(start("pynetdicom-stock", stock, port))
    for path in paths:
        port = free_port()
        configuration = _our_configuration(folder / f"node-{path}", port, path)
        command = [sys.executable, "-m", "dicom_node", "receive", "--config", configuration]
        receivers.append(start(f"node-{path}", command, port))
    return receivers


def _orthanc_configuration(folder: Path, port: int) -> str:
    storage = str(folder / "storage")
    keys = {
        "StorageDirectory": storage, "IndexDirectory": storage, "DicomPort": port, "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True, "Plugins": [],
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(keys))
    return str(path)


def _our_configuration(folder: Path, port: int, receive_path: str) -> str:
    # As `tumor-node serve` does before it starts a listener: one that makes the schema itself keeps alembic in memory.
    upgrade = "import sys; from storage.database import upgrade; upgrade(sys.argv[1])"
    (folder / "root").mkdir()
    subprocess.run([sys.executable, "-c", upgrade, f"sqlite:///{folder / 'root' / 'node.sqlite'}"], check=True)
    path = folder / "config.yaml"
    path.write_text(
        f"node: {{ae_title: BENCH, port: {port}, receive_path: {receive_path}}}\n"
        f"storage: {{root: {folder / 'root'}, min_free_mb: 64}}\nlogging: {{level: error}}\n"
    )
    return str(path)


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_s(process_id: int) -> float:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    # utime, stime, and those of children that were waited for.
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
