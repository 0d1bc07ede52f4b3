"""A node of one receiver and some workers, each a process that meets its fate and is started again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from tests.acceptance.forked_node import Order, forkserver, start
from tests.acceptance.kill_points import KillPoint, Part
from tests.acceptance.nodes import TruthNode

_KILLED = -9
_TICK_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Fate:
    """How a process is to end. point: by itself there; after_s: else killed from outside, or the whole node with it."""

    point: KillPoint | None = None
    after_s: float = float("inf")
    all_at_once: bool = False


@dataclass
class _Running:
    process: ForkServerProcess
    fate: Fate
    ends_at: float


class MortalNode:
    """Keeps the processes of `node` running; while a quota is left they die, each as its fate says."""

    def __init__(self, node: TruthNode, workers: int, *, analysis_s: float = 0.0) -> None:
        self._node = node
        self._context = forkserver()
        self._names = {"receive": Part.RECEIVE, **{f"work-{number}": Part.WORK for number in range(1, workers + 1)}}
        self._running: dict[str, _Running] = {}
        self._quota: dict[Part, int] = dict.fromkeys(Part, 0)
        self._fates: Callable[[Part], Fate] = lambda _part: Fate()
        self._kills: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._lock = threading.Lock()
        self.analysis_s = analysis_s

    @property
    def names(self) -> list[str]:
        """Of all processes, those killed for good included."""
        return list(self._names)

    def pids(self) -> dict[str, int]:
        """Of the processes that run, by name."""
        running = list(self._running.items())
        return {name: one.process.pid for name, one in running if one.process.pid is not None}

    def kill_for_good(self, name: str) -> None:
        """Kill a process and never start it again."""
        with self._lock:
            self._gone.add(name)
            running = self._running.pop(name)
            running.process.kill()
            running.process.join()

    def begin(self, fates: Callable[[Part], Fate], quota: Mapping[Part, int]) -> None:
        """Let them die from now on, at most that often; processes that live already are started anew."""
        self._fates, self._quota, self._kills = fates, dict(quota), Counter()
        self.stop()
        self.tick()

    def spare(self, part: Part | None = None) -> None:
        """Nobody (of this part) is killed any more; whoever is armed is started anew without."""
        for name, of in self._names.items():
            if part is not None and of is not part:
                continue
            self._quota[of] = 0
            running = self._running.get(name)
            if running is None:
                continue
            if running.fate.point is not None:
                self._stop([name])
            else:
                running.ends_at = float("inf")
        self.tick()

    def used_up(self, part: Part) -> bool:
        """Whether the part's quota of kills is used up."""
        return self._quota[part] <= 0

    def end(self) -> Counter[str]:
        """The kills since `begin`, by place; the processes go on."""
        return self._kills

    def tick(self) -> None:
        """Kill whoever's time has come, start whoever is dead; sleeps a moment."""
        with self._lock:
            self._turn()
        wait([running.process.sentinel for running in list(self._running.values())], timeout=_TICK_S)

    def _turn(self) -> None:
        now = time.monotonic()
        for name, running in list(self._running.items()):
            if now >= running.ends_at and running.process.is_alive() and self._quota[self._names[name]] > 0:
                self._kill(name, running)
        for name in list(self._running):
            self._bury(name)
        for name, part in self._names.items():
            if name not in self._running and name not in self._gone:
                fate = self._fates(part) if self._quota[part] > 0 else Fate()
                order = Order(
                    config_path=self._node.config_path,
                    part=part,
                    log=self._node.folder / "node.log",
                    executor_id=name,
                    die_at=fate.point,
                    analysis_s=self.analysis_s,
                )
                self._running[name] = _Running(start(self._context, order), fate, now + fate.after_s)

    def stop(self) -> None:
        """End all of them as the operator does."""
        self._stop(list(self._running))

    def _kill(self, name: str, running: _Running) -> None:
        others = [one for one in self._running if one != name] if running.fate.all_at_once else []
        running.process.kill()
        running.process.join()
        if running.process.exitcode != _KILLED:
            return  # it had ended otherwise; burying says so
        self._count(name, "a random instant" if not others else "a random instant, the whole node")
        del self._running[name]
        for other in others:
            self._running[other].process.kill()
            self._running[other].process.join()
            self._quota[self._names[other]] -= 1
            del self._running[other]

    def _bury(self, name: str) -> None:
        running = self._running.get(name)
        if running is None or running.process.is_alive():
            return
        del self._running[name]
        code = running.process.exitcode
        if code != _KILLED or running.fate.point is None:
            raise RuntimeError(f"{name} ended with {code}:\n" + self._node.log()[-3000:])
        self._count(name, running.fate.point.name)

    def _count(self, name: str, place: str) -> None:
        part = self._names[name]
        self._quota[part] -= 1
        self._kills[f"{part}: {place}"] += 1

    def _stop(self, names: list[str]) -> None:
        for name in names:
            self._running[name].process.terminate()
        for name in names:
            running = self._running[name]
            running.process.join(30)
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
            elif running.process.exitcode == _KILLED and running.fate.point is not None:
                self._count(name, running.fate.point.name)  # it was quicker
            del self._running[name]
