"""A release put in while studies arrive: its schema under the old processes, its receiver, its workers one by one.

git worktree add OLD v1.2    # any earlier commit
python -m tests.acceptance.rolling_upgrade --old OLD [--studies 24] [--workers 2] [--seed 1] [--json FILE]

OLD is a working tree of the release before, with the libraries of this one. PostgreSQL. The order is that of
docs/operations.md. Good is: every acknowledged image kept, every study delivered once, one analysis a study, and not
one error logged by a process of either release.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.acceptance.faulty_pacs import FaultyPacs
from tests.acceptance.nodes import REPOSITORY, TruthNode, send
from tests.acceptance.small_studies import SEED, SmallStudies
from tests.unit.storage.postgres_server import empty_database, postgres_server

_WITHIN_S = 300.0
_PAUSE_S = 1.0
#: Run in a tree of either release.
_OPEN = """
import sys
from pathlib import Path
from dicom_node.config import load_config
from dicom_node.store import open_store
open_store(load_config(Path(sys.argv[1]))).database.close()
"""
_PROCESS = """
import sys
from pathlib import Path
import tests.acceptance.warm_node
from tests.acceptance.forked_node import Order, run_node
from tests.acceptance.kill_points import Part
config, part, name, log = sys.argv[1:]
run_node(Order(config_path=Path(config), part=Part(part), log=Path(log), executor_id=name))
"""


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What an upgrade came to. by_old, by_new: runs finished by a worker of that release. errors: lines logged so."""

    studies: int
    acknowledged: int
    kept: int
    delivered: int
    duplicates: int
    runs: int
    by_old: int
    by_new: int
    schema_before: str
    schema_after: str
    errors: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether nothing was lost, done twice or complained of, and both releases had a share."""
        whole = self.kept == self.acknowledged > 0 and self.delivered == self.studies == self.runs
        return whole and self.duplicates == 0 and not self.errors and min(self.by_old, self.by_new) > 0


class RollingUpgrade:
    """The node's processes from two trees, and studies that arrive all the while."""

    def __init__(self, folder: Path, old: Path, database_url: str, *, studies: int, workers: int, seed: int) -> None:
        self._old = old
        # Not through the store: to open that is to bring its schema up.
        self._rows = create_engine(database_url)
        self.pacs = FaultyPacs()
        sections: dict[str, Mapping[str, object]] = {
            "models": {"explain": False},
            "storage": {"root": str(folder / "node" / "root"), "database_url": database_url},
            "assembly": {"series_quiet_s": 0.6, "study_quiet_s": 3.0, "poll_s": 0.4},
            "delivery": {"poll_s": 0.4, "first_retry_s": 0.5, "lease_s": 5},
            "engine": {"poll_s": 0.3, "database_url": database_url, "takeover_after_s": 15},
            "scrub": {"every_days": None},
        }
        self.node = TruthNode(folder / "node", SEED, self.pacs.ae_title, self.pacs.dicom_port, sections=sections)
        small = SmallStudies(folder / "studies", f"upgrade-{seed}-{time.time_ns()}")
        self.studies = dict(small.write(str(number)) for number in range(studies))
        self._workers = [f"work-{number}" for number in range(1, workers + 1)]
        (self.node.folder / "node.log").touch()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._acknowledged: dict[str, list[Path]] = {uid: [] for uid in self.studies}

    def run(self) -> Upgrade:
        """The upgrade, from the old release at work to the new one with nothing left to do."""
        self._in_tree(self._old, _OPEN)
        before = self._schema()
        self.pacs.start()
        try:
            for name in ("receive", *self._workers):
                self._start(name, self._old)
            modality = threading.Thread(target=self._send_all)
            modality.start()
            self._wait(lambda: self._delivered() >= len(self.studies) // 4)
            by_old = self._delivered()
            self._in_tree(REPOSITORY, _OPEN)
            self._wait(lambda: self._delivered() > by_old)  # the old processes on the new schema
            for name in ("receive", *self._workers):
                by_old = self._delivered()
                self._stop(name)
                self._start(name, REPOSITORY)
            modality.join()
            self._wait(lambda: self._delivered() == len(self.studies))
        finally:
            for name in list(self._running):
                self._stop(name)
            self.pacs.stop()
        return self._summary(before, by_old)

    def _summary(self, before: str, by_old: int) -> Upgrade:
        store = self.node.store
        kept = sum(
            sum(store.files.verify(row.path, row.sha256) for row in store.studies.instances_of(uid))
            for uid in self.studies
        )
        counts = [self.pacs.results_of(uid) for uid in self.studies]
        scans = [store.scans.by_study(uid) for uid in self.studies]
        return Upgrade(
            studies=len(self.studies),
            acknowledged=sum(map(len, self._acknowledged.values())),
            kept=kept,
            delivered=self._delivered(),
            duplicates=sum(abs(segs - 1) + abs(srs - 1) for segs, srs in counts) + self.pacs.changed,
            runs=sum(scan.run for scan in scans if scan is not None),
            by_old=by_old,
            by_new=len(self.studies) - by_old,
            schema_before=before,
            schema_after=self._schema(),
            errors=dict(self._errors()),
        )

    def _errors(self) -> Counter[str]:
        """What the processes logged as an error, by its first words and the tree it came from."""
        found: Counter[str] = Counter()
        for line in self.node.log().splitlines():
            if '"level": "error"' in line or "Traceback" in line:
                release = "old" if str(self._old) in line else "new"
                found[f"{release}: {line[:120]}"] += 1
        return found

    def _send_all(self) -> None:
        """As a modality does: one study after another, each again until every image is acknowledged."""
        deadline = time.monotonic() + _WITHIN_S
        for uid, paths in self.studies.items():
            taken = self._acknowledged[uid]
            while len(taken) < len(paths) and time.monotonic() < deadline:
                taken += send(self.node.address, [path for path in paths if path not in taken])
            time.sleep(_PAUSE_S)

    def _delivered(self) -> int:
        with self._rows.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM scans WHERE status = 'delivered'"))
            return int(found.scalar_one())

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not done():
            if '"event": "run failed"' in self.node.log():
                raise RuntimeError(f"a run failed:\n{self.node.log()[-3000:]}")
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.node.log()[-3000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._delivered()} of {len(self.studies)} delivered:\n{self.node.log()[-3000:]}")
            time.sleep(0.2)

    def _schema(self) -> str:
        with self._rows.connect() as connection:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    def _start(self, name: str, tree: Path) -> None:
        part = "receive" if name == "receive" else "work"
        log = self.node.folder / "node.log"
        words = [sys.executable, "-c", _PROCESS, str(self.node.config_path), part, name, str(log)]
        self._running[name] = subprocess.Popen(words, cwd=tree, env=_environment(tree))

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        process.wait(60)

    def _in_tree(self, tree: Path, code: str) -> None:
        words = [sys.executable, "-c", code, str(self.node.config_path)]
        subprocess.run(words, cwd=tree, env=_environment(tree), check=True)


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = empty_database(stack.enter_context(postgres_server()), "node")
        upgrade = RollingUpgrade(
            folder,
            arguments.old.resolve(),
            url,
            studies=arguments.studies,
            workers=arguments.workers,
            seed=arguments.seed,
        )
        summary = upgrade.run()
        upgrade.node.store.database.close()
    told = json.dumps(asdict(summary) | {"good": summary.good}, indent=1)
    print(told)
    if arguments.json is not None:
        arguments.json.write_text(told)
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
