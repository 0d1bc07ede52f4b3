"""This node a second time, on files of its own: the same models and destinations, and nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dicom_node.config import ENVIRONMENT_PREFIX, NodeConfig
from dicom_node.demo_pacs import free_port
from dicom_node.errors import Permanent
from dicom_node.outbound.scu import echo
from dicom_node.outbound.sending import Destination
from dicom_node.store import Store, open_store

_START_WITHIN_S = 120.0
_STOP_WITHIN_S = 30.0


class TemporaryNodeSilent(Permanent):
    """The node's processes did not come up; the message holds the end of their log."""

    code = "temporary-node-silent"


@contextmanager
def temporary_node(config: NodeConfig, folder: Path) -> Iterator[tuple[Destination, Store]]:
    """A listener and a worker as processes of their own, on loopback, until the block ends.

    Raises:
        TemporaryNodeSilent: the listener did not answer in time. StorageError, OSError.
    """
    own = _on_files_of_its_own(config, folder)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(_as_file(own)), encoding="utf-8")
    store = open_store(own)
    processes = [_start(config, path, name) for name in ("receive", "work")]
    try:
        address = Destination(
            name="temporary node", ae_title=own.node.ae_title, host="127.0.0.1", port=own.node.port, timeout_s=30.0
        )
        _wait(address, processes, folder)
        yield address, store
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        store.database.close()


def _on_files_of_its_own(config: NodeConfig, folder: Path) -> NodeConfig:
    node = config.node.model_copy(
        update={"host": "127.0.0.1", "port": free_port(), "peers": (), "tls": type(config.node.tls)()}
    )
    cache = config.models.cache or config.storage.root / "model-cache"
    models = config.models.model_copy(
        update={"folder": config.models.folder.absolute(), "cache": cache.absolute(), "convert": False}
    )
    assembly = config.assembly.model_copy(update={"series_quiet_s": 2.0, "study_quiet_s": 30.0, "poll_s": 0.5})
    # A commitment report would come to the listener that is not there; negotiation says whether it is offered.
    destinations = tuple(one.model_copy(update={"commitment": "none"}) for one in config.destinations)
    return config.model_copy(
        update={
            "node": node,
            "storage": config.storage.model_copy(
                update={"root": folder / "node", "database_url": None, "min_free_mb": 0}
            ),
            "engine": config.engine.model_copy(update={"database_url": None, "executor_id": "doctor"}),
            "models": models.model_copy(update={"explain": False}),
            "assembly": assembly,
            "destinations": destinations,
            "query": config.query.model_copy(update={"destination": None}),
            "logging": config.logging.model_copy(update={"level": "warning"}),
        }
    )


def _as_file(config: NodeConfig) -> dict[str, object]:
    values = config.model_dump(mode="json")
    for secret in ("secret", "inbox_token"):
        values["web"].pop(secret)
    return values


def _start(config: NodeConfig, path: Path, name: str) -> subprocess.Popen[bytes]:
    # The environment's settings are in the file already, and would win over it.
    secrets = {section.secret_env for section in config.destinations}
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().startswith(ENVIRONMENT_PREFIX) or key in secrets
    }
    command = [sys.executable, "-m", "dicom_node", name, "--config", str(path)]
    with path.with_name(f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _wait(address: Destination, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while not echo(address, "DOCTOR").ok:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            said = b"".join(path.read_bytes()[-600:] for path in sorted(folder.glob("*.log")))
            raise TemporaryNodeSilent(f"it did not come up: {said.decode(errors='replace').strip()[-600:]}")
        time.sleep(0.5)
