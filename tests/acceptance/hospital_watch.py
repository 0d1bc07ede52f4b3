"""Watching a node through a simulated day: queue, memory and disk; and a search for a patient where none may be."""

from __future__ import annotations

import contextlib
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.lifecycle import END_STATES, ScanState
from tests.acceptance.nodes import TruthNode

_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """at_s: since the day began. queue_age_s: of the scan that waits longest. rss_mb: by process."""

    at_s: float
    open_scans: int
    queue_age_s: float
    rss_mb: dict[str, float]
    disk_mb: float


class Watch:
    """Samples on a thread of its own. processes: from a process's name to its pid, now."""

    def __init__(self, node: TruthNode, processes: Callable[[], dict[str, int]]) -> None:
        self.samples: list[Sample] = []
        self._node = node
        self._processes = processes
        self._began = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._since: dict[str, float] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_S):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        now = time.monotonic() - self._began
        waiting = [state for state in ScanState if state not in END_STATES]
        scans = self._node.store.scans.in_states(*waiting)
        self._since = {scan.id: self._since.get(scan.id, now) for scan in scans}
        return Sample(
            at_s=now,
            open_scans=len(scans),
            queue_age_s=max((now - since for since in self._since.values()), default=0.0),
            rss_mb={name: rss for name, pid in self._processes().items() if (rss := rss_mb(pid)) is not None},
            disk_mb=sum(map(_size, self._node.store.files.root.rglob("*"))) / 1e6,
        )

    def memory(self, name: str) -> tuple[float, float]:
        """Median RSS of a process in the first and the last sixth of the samples, its start left out."""
        seen = [sample.rss_mb[name] for sample in self.samples if name in sample.rss_mb][5:]
        part = max(1, len(seen) // 6)
        return (statistics.median(seen[:part]), statistics.median(seen[-part:])) if seen else (0.0, 0.0)


def rss_mb(pid: int) -> float | None:
    """Resident memory that is the process's own; None where it is gone."""
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^RssAnon:\s+(\d+) kB", told, re.MULTILINE)
    return None if found is None else int(found.group(1)) / 1024


def found_in(words: Sequence[str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """The names of the places that hold one of the words."""
    return [name for name, body in places if any(word.encode() in body for word in words)]


def files_outside(folder: Path, store: Path) -> Iterable[tuple[str, bytes]]:
    """Every file below `folder` that is not received data, results or rows."""
    holding = {store / name for name in ("studies", "results", "conflicts", "uploads", "spool")}
    for path in _files(folder):
        if not holding.intersection(path.parents) and not path.name.startswith("node.sqlite"):
            yield str(path.relative_to(folder)), path.read_bytes()


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # what is in the spool goes at any moment
        return path.stat().st_size if path.is_file() else 0
    return 0


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
