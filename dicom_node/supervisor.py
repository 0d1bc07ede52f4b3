"""`serve`: receiver, worker and web as three child processes under one parent.

A model that runs out of memory takes the worker down and nothing else; the parent starts it again. Children die with
the parent (the kernel sees to it), so a killed parent leaves no second worker behind with the same executor id.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

_PR_SET_PDEATHSIG = 1
_STOP_WITHIN_S = 10.0
_STEADY_AFTER_S = 30.0
_LONGEST_PAUSE_S = 30.0

log = structlog.get_logger("supervisor")


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process to keep alive. command: its argument vector."""

    name: str
    command: Sequence[str]


def restart_pause_s(quick_ends: int) -> float:
    """Seconds to wait before a child's next start, `quick_ends` of which failed or ended soon after it in a row."""
    return 0.0 if quick_ends == 0 else min(0.5 * 2.0 ** (quick_ends - 1), _LONGEST_PAUSE_S)


def supervise(children: Sequence[Child], *, clock: Callable[[], float] = time.monotonic) -> int:
    """Run `children` until SIGTERM or SIGINT, restarting whichever ends; returns the exit status (0 after a signal).

    One that cannot be started is tried again, while the others run.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    quick_ends = dict.fromkeys((child.name for child in children), 0)
    not_before = dict.fromkeys((child.name for child in children), 0.0)
    while not stopping.is_set():
        for child in children:
            now = clock()
            process, started = running.get(child.name, (None, 0.0))
            if process is not None and process.poll() is not None:
                quick_ends[child.name] = quick_ends[child.name] + 1 if now - started < _STEADY_AFTER_S else 0
                not_before[child.name] = now + restart_pause_s(quick_ends[child.name])
                log.error(
                    "child ended",
                    child=child.name,
                    returncode=process.returncode,
                    starts_in_s=not_before[child.name] - now,
                )
                del running[child.name]
                process = None
            if process is None and now >= not_before[child.name]:
                try:
                    running[child.name] = (_start(child), now)
                except (OSError, subprocess.SubprocessError) as error:
                    # For want of memory or processes: the other children are not to end with it.
                    quick_ends[child.name] += 1
                    not_before[child.name] = now + restart_pause_s(quick_ends[child.name])
                    log.error(
                        "child not started",
                        child=child.name,
                        error=str(error),
                        starts_in_s=not_before[child.name] - now,
                    )
        stopping.wait(0.2)
    return _stop([process for process, _ in running.values()])


def _start(child: Child) -> subprocess.Popen[bytes]:
    return subprocess.Popen(list(child.command), preexec_fn=_die_with_parent)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_WITHIN_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Work under way is durable: killing it costs a repeated step at the next start.
            process.kill()
            process.wait()
    return 0
