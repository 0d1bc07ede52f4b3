"""A hospital's day in minutes: several modalities at once, bursts, late images, studies sent twice, dying workers.

python -m tests.acceptance.hospital_day --studies 200 --day-s 600 [--database sqlite|postgresql] [--workers 4]
    [--kill 2] [--analysis-s 2] [--seed 1] [--report FILE.md] [--json FILE]

The node's parts are processes of their own. An analysis sleeps --analysis-s in place of the models' arithmetic; all
else is real. --kill ends so many workers at random moments for good: the others take over what they had in hand.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from starlette.testclient import TestClient

from dicom_node.node import build_web
from dicom_node.outbound.scu import echo
from tests.acceptance.faulty_pacs import FaultyPacs
from tests.acceptance.forked_node import cpu_seconds
from tests.acceptance.hospital_arrivals import Arrival, Manner, arrivals
from tests.acceptance.hospital_watch import Watch, files_outside, found_in
from tests.acceptance.mortal_nodes import MortalNode
from tests.acceptance.nodes import TruthNode, send
from tests.acceptance.small_studies import SEED, SmallStudies
from tests.unit.storage.postgres_server import empty_database, postgres_server

MODALITIES = 4
CANARY = "Kanarienvogel"
#: Anybody may ask for these, so nothing of a patient may be in them.
_OPEN_PAGES = ("/", "/sign-in", "/health/live", "/health/ready", "/metrics", "/api/openapi.json", "/scans", "/nowhere")
_WITHIN_S = 900.0


@dataclass(frozen=True, kw_only=True)
class DaySummary:
    """What a day came to. drained_s: from the last arrival until the last study was delivered.

    memory: by process, MB in the first and last sixth of the day. canaries: places outside the store with the name.
    """

    database: str
    workers: int
    killed: int
    studies: int
    delivered: int
    duplicates: int
    day_s: float
    drained_s: float
    studies_per_hour: float
    analysis_s: float
    cpu_s_a_study: float
    longest_queue: int
    oldest_s: float
    memory: dict[str, tuple[float, float]]
    disk_mb_a_study: float
    canaries: list[str]

    @property
    def good(self) -> bool:
        return self.delivered == self.studies and self.duplicates == 0 and not self.canaries


class HospitalDay:
    """One day at one node. studies: how many. day_s: how long the 24 hours take."""

    def __init__(
        self, folder: Path, *, database_url: str | None, workers: int, analysis_s: float, seed: int, studies: int
    ) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.pacs = FaultyPacs()
        self.workers = workers
        self.database = "sqlite" if database_url is None else "postgresql"
        sections: dict[str, Mapping[str, object]] = {
            "models": {"explain": False},
            "assembly": {"series_quiet_s": 1.0, "study_quiet_s": 4.0, "poll_s": 0.4},
            "delivery": {"poll_s": 0.4, "first_retry_s": 0.5, "lease_s": 5},
            "engine": {"poll_s": 0.3},
        }
        if database_url is not None:
            sections["storage"] = {"root": str(folder / "node" / "root"), "database_url": database_url}
            sections["engine"] = {"poll_s": 0.3, "database_url": database_url, "takeover_after_s": 15}
        self.node = TruthNode(folder / "node", SEED, self.pacs.ae_title, self.pacs.dicom_port, sections=sections)
        self.mortal = MortalNode(self.node, workers, analysis_s=analysis_s)
        self.plan = arrivals(studies, MODALITIES, seed)
        small = SmallStudies(folder / "studies", f"day-{seed}-{time.time_ns()}")
        patients = [(f"{CANARY}-{arrival.number}", f"{CANARY}^{arrival.number}") for arrival in self.plan]
        self.studies = [small.write(str(one.number), patient) for one, patient in zip(self.plan, patients, strict=True)]

    def run(self, day_s: float, kill: int = 0) -> DaySummary:
        """Live through the day."""
        self.pacs.start()
        self.mortal.tick()
        keeping = threading.Event()
        keeper = threading.Thread(target=self._keep_alive, args=(keeping,), daemon=True)
        keeper.start()
        self._wait_for_receiver()
        began, cpu = time.monotonic(), cpu_seconds()
        deaths = sorted(self.random.uniform(0.3, 0.9) * day_s for _ in range(kill))
        try:
            with Watch(self.node, self.mortal.pids) as watch, ThreadPoolExecutor(MODALITIES + 1) as hospital:
                killing = hospital.submit(self._kill_workers, began, deaths)
                names = sorted({arrival.modality for arrival in self.plan})
                for sending in [hospital.submit(self._modality, name, began, day_s) for name in names]:
                    sending.result()
                last = time.monotonic()
                killing.result()
                delivered = self._drain()
                ended = time.monotonic()
            canaries = self._canaries()
        finally:
            keeping.set()
            keeper.join()
            self.mortal.stop()
            cpu = cpu_seconds() - cpu
            self.node.store.database.close()
            self.pacs.stop()
        counts = [self.pacs.results_of(uid) for uid, _ in self.studies]
        return DaySummary(
            database=self.database,
            workers=self.workers,
            analysis_s=self.mortal.analysis_s,
            killed=kill,
            studies=len(self.studies),
            delivered=delivered,
            duplicates=sum(abs(segs - 1) + abs(srs - 1) for segs, srs in counts) + self.pacs.changed,
            day_s=round(last - began, 1),
            drained_s=round(ended - last, 1),
            studies_per_hour=round(len(self.studies) / (ended - began) * 3600, 1),
            cpu_s_a_study=round(cpu / len(self.studies), 2),
            longest_queue=max((sample.open_scans for sample in watch.samples), default=0),
            oldest_s=round(max((sample.queue_age_s for sample in watch.samples), default=0.0), 1),
            memory={name: watch.memory(name) for name in self.mortal.names},
            disk_mb_a_study=round((watch.samples[-1].disk_mb if watch.samples else 0.0) / len(self.studies), 3),
            canaries=canaries,
        )

    def _keep_alive(self, ending: threading.Event) -> None:
        while not ending.is_set():
            self.mortal.tick()

    def _wait_for_receiver(self) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not echo(self.node.address, "TESTER").ok and time.monotonic() < deadline:
            time.sleep(0.2)

    def _modality(self, name: str, began: float, day_s: float) -> None:
        """Send this modality's studies at their hours, as fast as the node takes them when it falls behind."""
        owed: list[tuple[float, Sequence[Path]]] = []
        for arrival in (one for one in self.plan if one.modality == name):
            owed += self._sendings(arrival, day_s)
        for at_s, paths in sorted(owed, key=lambda one: one[0]):
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            left = list(paths)
            deadline = time.monotonic() + _WITHIN_S
            while left and time.monotonic() < deadline:
                taken = send(replace(self.node.address, timeout_s=60.0), left, calling=name)
                left = [path for path in left if path not in taken]

    def _sendings(self, arrival: Arrival, day_s: float) -> list[tuple[float, Sequence[Path]]]:
        at_s, paths = arrival.hour / 24 * day_s, self.studies[arrival.number][1]
        if arrival.manner is Manner.LATE:
            return [(at_s, paths[:-2]), (at_s + 1.0, paths[-2:])]
        if arrival.manner is Manner.AGAIN:
            return [(at_s, paths), (at_s + 0.1 * day_s, paths)]
        return [(at_s, paths)]

    def _kill_workers(self, began: float, deaths: Sequence[float]) -> None:
        for at_s in deaths:
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            alive = [name for name in self.mortal.names if name.startswith("work") and name in self.mortal.pids()]
            self.mortal.kill_for_good(self.random.choice(alive))

    def _drain(self) -> int:
        """Wait until every study is delivered; how many are."""
        deadline, delivered = time.monotonic() + _WITHIN_S, 0
        while time.monotonic() < deadline and delivered < len(self.studies):
            time.sleep(0.5)
            scans = [self.node.store.scans.by_study(uid) for uid, _ in self.studies]
            delivered = sum(scan is not None and scan.status == "delivered" for scan in scans)
        return delivered

    def _canaries(self) -> list[str]:
        config = self.node.config.model_copy(
            update={"web": self.node.config.web.model_copy(update={"secret": "s" * 40})}
        )
        client = TestClient(build_web(config, self.node.store), base_url="http://127.0.0.1")
        pages = [(page, client.get(page).content) for page in _OPEN_PAGES]
        return found_in([CANARY], [*pages, *files_outside(self.node.folder, self.node.store.files.root)])


def markdown(summary: DaySummary) -> str:
    """The summary as a table."""
    told = {
        "studies delivered": f"{summary.delivered} of {summary.studies}",
        "objects at the PACS twice, missing or changed": summary.duplicates,
        "workers, of them killed for good": f"{summary.workers}, {summary.killed}",
        "the day, and until the queue was empty after it": f"{summary.day_s} s, {summary.drained_s} s",
        "studies an hour": summary.studies_per_hour,
        "an analysis sleeps; CPU a study": f"{summary.analysis_s} s; {summary.cpu_s_a_study} s",
        "longest queue, oldest study in it": f"{summary.longest_queue}, {summary.oldest_s} s",
        "disk a study": f"{summary.disk_mb_a_study} MB",
        "places outside the store with a patient's name": len(summary.canaries),
    }
    told |= {
        f"memory of {name}, first and last sixth": f"{first:.0f} MB, {last:.0f} MB"
        for name, (first, last) in summary.memory.items()
        if first
    }
    lines = [f"### {summary.database}, {summary.workers} workers", "", "| | |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in told.items())]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--day-s", type=float, default=600.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--analysis-s", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.kill >= arguments.workers and arguments.kill:
        parser.error("at least one worker has to live")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if arguments.database == "postgresql":
            url = empty_database(stack.enter_context(postgres_server()), "day")
        day = HospitalDay(
            folder,
            database_url=url,
            workers=arguments.workers,
            analysis_s=arguments.analysis_s,
            seed=arguments.seed,
            studies=arguments.studies,
        )
        summary = day.run(arguments.day_s, arguments.kill)
    text = markdown(summary)
    print(text)
    print(*summary.canaries, sep="\n")
    if arguments.report is not None:
        arguments.report.write_text(text)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(summary), indent=1))
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
