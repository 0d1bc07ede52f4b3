"""C-STORE of one series by DCMTK's storescu, into our listener and into DCMTK's storescp."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.rows import Row, in_turn
from dicom_node.config import NodeConfig
from dicom_node.node import build_receiver
from dicom_node.store import open_store

STORESCU, STORESCP = "/usr/bin/storescu", "/usr/bin/storescp"


def ingest_rows(paths: list[Path], folder: Path, rounds: int) -> list[Row]:
    """Ours syncs each file and commits its row before it answers; storescp +B writes and syncs nothing."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    port = _free_port()
    received = folder / "storescp"
    received.mkdir()
    storescp = subprocess.Popen([STORESCP, "+B", "-od", received, str(port)], env=environment)
    config = NodeConfig(
        node={"port": _free_port()},  # type: ignore[arg-type]
        storage={"root": folder / "root"},  # type: ignore[arg-type]
    )
    store = open_store(config)
    server = build_receiver(config, store)
    server.start()
    try:
        _wait_for(port)

        def send(called: str, to: int) -> None:
            command = [STORESCU, "-aec", called, "127.0.0.1", str(to), *map(str, paths)]
            subprocess.run(command, check=True, env=environment, capture_output=True)

        def forget() -> None:
            # Rows and files of the round before would make it a round of duplicates.
            with store.database.write() as session:
                for table in ("instances", "series", "events", "scans", "studies"):
                    session.connection().exec_driver_sql(f"DELETE FROM {table}")
            shutil.rmtree(config.storage.root / "studies")
            (config.storage.root / "studies").mkdir()

        def ours() -> None:
            send("BTNODE", server.port)

        return [
            in_turn(f"receive {len(paths)} objects", "storescp +B", ours, lambda: send("ANY", port), rounds, forget)
        ]
    finally:
        server.stop()
        store.database.close()
        storescp.terminate()
        storescp.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
