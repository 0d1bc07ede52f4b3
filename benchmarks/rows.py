"""One figure of a benchmark: ours and a peer's in turn, A B A B, so that a drift of the machine falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """Medians in seconds; ratio: median of ours / peer's, pair by pair."""

    what: str
    peer: str
    ours_s: float
    peer_s: float
    ratio: float


def in_turn(
    what: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
    before: Callable[[], object] = lambda: None,
) -> Row:
    """One uncounted round of each, then `rounds` counted pairs; `before` each pair, uncounted, clears the table."""
    pairs = []
    for _ in range(rounds + 1):
        before()
        pairs.append((_seconds(ours), _seconds(theirs)))
    pairs = pairs[1:]
    return Row(
        what=what,
        peer=peer,
        ours_s=statistics.median(a for a, _ in pairs),
        peer_s=statistics.median(b for _, b in pairs),
        ratio=statistics.median(a / b for a, b in pairs),
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
