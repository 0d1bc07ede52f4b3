"""The clock every repository takes as a parameter, so that tests and a replay can set the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

#: A function without arguments that gives the present as a timezone-aware time.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present, aware, in UTC. The default of every `clock` parameter."""
    return datetime.now(UTC)
