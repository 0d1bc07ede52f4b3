"""One batch of the kill campaign: studies in flight, processes that die, and what is left when all live again."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dicom_node.inbound.parsing import split_part10
from storage.vocabulary import RequestKind
from tests.acceptance.faulty_pacs import FaultyPacs
from tests.acceptance.forked_node import cpu_seconds
from tests.acceptance.kill_points import KillPoint, Part, points_of
from tests.acceptance.mortal_nodes import Fate, MortalNode
from tests.acceptance.nodes import TruthNode, send
from tests.acceptance.small_studies import SEED, SmallStudies

#: A run is given up as poison when its process died a sixth time in it; no batch kills its workers more often.
_MOST_WORKER_KILLS = 5
_MOST_RECEIVER_KILLS = 6
#: How long a process may take to come to the point it is to die at. A worker starts, waits for a study and analyses it.
_REACHES_POINT_S = {Part.RECEIVE: 4.0, Part.WORK: 12.0}
#: All studies of a batch are at their end within this, however busy the machine is; else they are stuck.
_WITHIN_S = 420.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one batch came to.

    kills: by place. acknowledged: instances; lost: those of them without a row, or without a file with the bytes sent.
    stuck: studies that were not delivered. duplicates: objects at the PACS beyond one SEG and one SR a study, missing
    ones counted too, and times an object came with other bytes. runs: analyses beyond one a study.
    """

    number: int
    kills: dict[str, int]
    studies: int
    acknowledged: int
    lost: int
    stuck: int
    duplicates: int
    runs: int
    seconds: float
    cpu_s: float

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    @property
    def good(self) -> bool:
        return self.lost == self.stuck == self.duplicates == self.runs == 0

    def told(self) -> str:
        return (
            f"batch {self.number}: {self.total} kills, {self.studies} studies, {self.acknowledged} acknowledged, "
            f"{self.lost} lost, {self.stuck} stuck, {self.duplicates} duplicates, {self.runs} runs too many, "
            f"{self.seconds:.0f} s, {self.cpu_s:.1f} CPU s"
        )


class BatchCampaign:
    """A PACS, a node of one receiver and some workers, and batch after batch through them.

    database_url: rows and engine on PostgreSQL; None is SQLite in the node's folder. studies: in a batch.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        workers: int = 1,
        database_url: str | None = None,
        receive_path: str | None = None,
        studies: int = 3,
    ) -> None:
        self.random = random.Random(seed)
        self.pacs = FaultyPacs()
        self.pacs_folder = folder
        self.studies = studies
        self._broken = threading.Event()
        # Looking about more often would cost more than the studies do.
        sections: dict[str, Mapping[str, object]] = {
            "models": {"explain": False},
            "assembly": {"series_quiet_s": 0.6, "study_quiet_s": 600.0, "poll_s": 0.4},
            "delivery": {"poll_s": 0.4, "first_retry_s": 0.5, "lease_s": 2},
            "engine": {"poll_s": 0.3},
            "scrub": {"every_days": None},
        }
        if database_url is not None:
            sections["storage"] = {"root": str(folder / "node" / "root"), "database_url": database_url}
            sections["engine"] = {"poll_s": 0.3, "database_url": database_url, "takeover_after_s": 15}
        self.node = TruthNode(
            folder / "node",
            SEED,
            self.pacs.ae_title,
            self.pacs.dicom_port,
            sections=sections,
            receive_path=receive_path,
        )
        self.mortal = MortalNode(self.node, workers)
        self._small = SmallStudies(folder / "studies", f"kills-{seed}-{time.time_ns()}")
        path = self.node.config.node.receive_path
        self._points = {part: _in_turn(part, path, self.random) for part in Part}

    def __enter__(self) -> BatchCampaign:
        self.pacs.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.mortal.stop()
        self.node.store.database.close()
        self.pacs.stop()

    def batch(self, number: int, most: int = 1_000_000) -> Batch:
        """One batch of at most that many kills."""
        began, cpu, changed = time.monotonic(), cpu_seconds(), self.pacs.changed
        studies = dict(self._small.write(f"{number}-{index}") for index in range(self.studies))
        quota = {Part.RECEIVE: min(_MOST_RECEIVER_KILLS, most)}
        quota[Part.WORK] = min(_MOST_WORKER_KILLS, most - quota[Part.RECEIVE])
        self.mortal.begin(lambda part: self._fate(part), quota)
        with ThreadPoolExecutor(2) as senders:
            sent = {uid: senders.submit(self._send, uid, paths) for uid, paths in studies.items()}
            try:
                self._watch(sent)
            except BaseException:
                self._broken.set()  # nobody starts the receiver again, so nobody need send
                raise
        self.mortal.spare()
        stuck = len(studies) - self._delivered(studies)
        acknowledged = [path for future in sent.values() for path in future.result()]
        lost = sum(not self._is_kept(uid, path) for uid in studies for path in sent[uid].result())
        counts = [self.pacs.results_of(uid) for uid in studies]
        twice = sum(abs(segs - 1) + abs(srs - 1) for segs, srs in counts) + self.pacs.changed - changed
        scans = [self.node.store.scans.by_study(uid) for uid in studies]
        kills = self.mortal.end()
        return Batch(
            number=number,
            kills=dict(kills),
            studies=len(studies),
            acknowledged=len(acknowledged),
            lost=lost,
            stuck=stuck,
            duplicates=twice,
            runs=sum(scan.run - 1 for scan in scans if scan is not None),
            seconds=round(time.monotonic() - began, 1),
            cpu_s=round(cpu_seconds() - cpu, 1),
        )

    def _fate(self, part: Part) -> Fate:
        """Two in three die at a point of their work, the points in turn, and where they miss it, like the others: at a
        random instant."""
        drawn = self.random.random()
        after_s = self.random.uniform(0.05, 4.0 if part is Part.WORK else 1.5)
        if drawn < 2 / 3:
            return Fate(point=next(self._points[part]), after_s=after_s + _REACHES_POINT_S[part])
        return Fate(after_s=after_s, all_at_once=drawn > 0.93)

    def _send(self, uid: str, paths: list[Path]) -> list[Path]:
        """As a modality does: again until every image is acknowledged; then a person asks for the analysis."""
        taken: list[Path] = []
        deadline = time.monotonic() + _WITHIN_S
        while len(taken) < len(paths) and time.monotonic() < deadline and not self._broken.is_set():
            taken += send(self.node.address, [path for path in paths if path not in taken])
            time.sleep(0.05)
        store = self.node.store
        while time.monotonic() < deadline and not self._broken.is_set():
            scan = store.scans.by_study(uid)
            if scan is not None and len(store.studies.instances_of(uid)) == len(taken):
                # One series of the four never makes a study complete.
                store.requests.add(scan.id, RequestKind.PROCESS_NOW)
                break
            time.sleep(0.1)
        return taken

    def _watch(self, sent: Mapping[str, Future[list[Path]]]) -> None:
        """Let processes die and start them again, until the quota is used up or there is no work left to die in."""
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline:
            self.mortal.tick()
            if all(future.done() for future in sent.values()):
                self.mortal.spare(Part.RECEIVE)
                if self.mortal.used_up(Part.WORK) or self._all_delivered(sent):
                    return

    def _all_delivered(self, studies: Mapping[str, object]) -> bool:
        scans = [self.node.store.scans.by_study(uid) for uid in studies]
        return all(scan is not None and scan.status == "delivered" for scan in scans)

    def _delivered(self, studies: Mapping[str, object]) -> int:
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline and not self._all_delivered(studies):
            self.mortal.tick()
        scans = [self.node.store.scans.by_study(uid) for uid in studies]
        return sum(scan is not None and scan.status == "delivered" for scan in scans)

    def _is_kept(self, study_instance_uid: str, path: Path) -> bool:
        """True where a row names a whole file with the data set that was sent."""
        store = self.node.store
        _, data_set = split_part10(path.read_bytes())
        for row in store.studies.instances_of(study_instance_uid):
            if store.files.verify(row.path, row.sha256) and split_part10(store.files.read(row.path))[1] == data_set:
                return True
        return False


def _in_turn(part: Part, receive_path: str, source: random.Random) -> Iterator[KillPoint]:
    """Every point of the part, in an order of its own each time round, at a passing that follows from the seed."""
    for _ in itertools.count():
        points = points_of(part, receive_path)
        source.shuffle(points)
        for passage, moment in points:
            yield KillPoint(passage=passage, moment=moment, passing=source.randint(1, passage.often))


def total_kills(batches: list[Batch]) -> Counter[str]:
    """Kills of all batches by place."""
    total: Counter[str] = Counter()
    for batch in batches:
        total.update(batch.kills)
    return total
