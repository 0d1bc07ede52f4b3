"""Node processes forked from one that has imported everything: a start costs what the node does, not what Python does.

Each is a process of its own with files, connections and a death of its own. What it does with the pixels is remembered:
every study has those of one that the pipeline analysed once. Receiving, reading, encoding and all else is real.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import _forkserver  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from dicom_node.config import NodeConfig, load_config
from dicom_node.logs import configure_logging
from dicom_node.receiver import build_receiver
from dicom_node.store import Store, open_store
from tests.acceptance.kill_points import KillPoint, Part, arm

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Order:
    """One process of a node. executor_id: of a worker. analysis_s: what a segmentation takes beside its own work."""

    config_path: Path
    part: Part
    log: Path
    executor_id: str = "node-1"
    die_at: KillPoint | None = None
    analysis_s: float = 0.0


def run_node(order: Order) -> None:
    """The body of such a process; it ends by SIGTERM as `tumor-node receive` and `work` do."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with order.log.open("ab") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    config = load_config(order.config_path)
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"executor_id": order.executor_id})})
    configure_logging("info", f"{order.part}-{order.executor_id}")
    if order.die_at is not None:
        arm(order.die_at, lambda name: os.write(2, f"killed {name}\n".encode()))
    store = open_store(config)

    server = build_receiver(config, store) if order.part is Part.RECEIVE else _worker(order, config, store)
    server.start()
    while not stopping.wait(1.0):
        pass
    server.stop()
    os._exit(0)


def _worker(order: Order, config: NodeConfig, store: Store) -> Any:
    # Imported here: the process that orders nodes has no need of what a worker is made of.
    from dicom_node import runs
    from dicom_node.node import build_worker
    from pipeline.models.catalogue import ModelStatus
    from pipeline.models.protocols import Models
    from tests.acceptance.remembered import Remembered, known_models

    Remembered.takes_s = order.analysis_s
    runs.analyse = Remembered.analyse  # type: ignore[attr-defined]

    def load(_folder: Path) -> tuple[Models, tuple[ModelStatus, ...]]:
        return known_models(), ()

    return build_worker(config, store, loader=load)


def forkserver() -> ForkServerContext:
    """The context whose processes are forked from one with everything imported and the known study made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.acceptance.warm_node"])
    return context


def start(context: ForkServerContext, order: Order) -> ForkServerProcess:
    """A running process of a node, not yet ready."""
    process = context.Process(target=run_node, args=(order,), daemon=True)
    process.start()
    return process


def cpu_seconds() -> float:
    """CPU time of this process and of every node process that has ended."""
    own = time.process_time()
    server = _forkserver._forkserver_pid
    if server is None:
        return own
    # utime, stime and those of the children it has waited for: fields 14 to 17 of proc(5).
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return own + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
