"""Starting and watching a truth node as a process of its own, and sending to it as a modality would."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

import yaml

from dicom_node.config import NodeConfig, load_config
from dicom_node.outbound.scu import DicomSender, echo
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.store import Store, open_store
from storage.lifecycle import END_STATES, ScanState
from storage.scan_rows import ScanRow
from tests.orthanc import free_port

REPOSITORY = Path(__file__).resolve().parent.parent.parent


class TruthNode:
    """A truth node in `folder`; `start`, `kill` and `start` again keep its port, files and rows.

    pacs: further keys of its one destination. sections: further sections of its configuration.
    receive_path: None is the default one.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        pacs_ae_title: str,
        pacs_port: int,
        *,
        port: int = 0,
        study_quiet_s: float = 60.0,
        pacs: Mapping[str, object] | None = None,
        sections: Mapping[str, object] | None = None,
        receive_path: str | None = None,
    ) -> None:
        self.seed = seed
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "node": {"port": port or free_port(), **({"receive_path": receive_path} if receive_path else {})},
            "storage": {"root": str(folder / "root")},
            "assembly": {"series_quiet_s": 0.6, "study_quiet_s": study_quiet_s, "poll_s": 0.2},
            "delivery": {"poll_s": 0.2, "first_retry_s": 0.5, "lease_s": 2},
            "engine": {"poll_s": 0.1},
            "destinations": [
                {
                    "name": "pacs",
                    "ae_title": pacs_ae_title,
                    "host": "127.0.0.1",
                    "port": pacs_port,
                    "kinds": ["SEG", "SR"],
                    **(pacs or {}),
                }
            ],
            **(sections or {}),
        }
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(yaml.safe_dump(values))
        self.config: NodeConfig = load_config(self.config_path)
        self.process: subprocess.Popen[bytes] | None = None
        self.address = Destination(
            name="node", ae_title=self.config.node.ae_title, host="127.0.0.1", port=self.config.node.port, timeout_s=10
        )

    @cached_property
    def store(self) -> Store:
        """The node's rows and files, seen from this process; the schema is brought up to this release's."""
        return open_store(self.config)

    def start(self, *extra: str, timeout_s: float = 120.0) -> None:
        command = [sys.executable, "-m", "tests.acceptance.truth_node", "--config", str(self.config_path)]
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--seed", str(self.seed), *extra], stdout=log, stderr=log, cwd=REPOSITORY
            )
        deadline = time.monotonic() + timeout_s
        while not echo(self.address, "TESTER").ok:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the node did not start:\n" + self.log()[-3000:])
            time.sleep(0.1)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def __enter__(self) -> TruthNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.store.database.close()

    def log(self) -> str:
        return (self.folder / "node.log").read_text(errors="replace")

    def wait_for_end(self, study_instance_uid: str, timeout_s: float = 240.0) -> ScanRow:
        """The scan of the study once it reached an end state."""
        deadline = time.monotonic() + timeout_s
        while True:
            scan = self.store.scans.by_study(study_instance_uid)
            if scan is not None and scan.status in END_STATES:
                return scan
            if time.monotonic() > deadline:
                state = "absent" if scan is None else f"{scan.status} ({scan.waiting_for or scan.pipeline_step})"
                raise TimeoutError(f"the scan is {state} after {timeout_s} s:\n" + self.log()[-3000:])
            time.sleep(0.1)

    def wait_for_state(self, study_instance_uid: str, states: Iterable[ScanState], timeout_s: float = 120.0) -> None:
        wanted, deadline = frozenset(states), time.monotonic() + timeout_s
        while (scan := self.store.scans.by_study(study_instance_uid)) is None or scan.status not in wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the scan never was {sorted(wanted)}")
            time.sleep(0.02)


def send(address: Destination, paths: Sequence[Path], calling: str = "MODALITY") -> list[Path]:
    """C-STORE `paths` over one association; those that were acknowledged, also where the node died in between."""
    outcomes = DicomSender(address, calling).send([outgoing_file(path) for path in paths])
    return [path for path, outcome in zip(paths, outcomes, strict=True) if outcome.verdict is Verdict.SENT]
