"""Which views stand in the audit trail already: a list that refreshes itself is one view, not twelve a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

#: Within it, the same person at the same address looking at the same thing is one entry.
WINDOW = timedelta(minutes=5)
_MOST = 10_000


class ViewLog:
    """Remembers for `WINDOW` what was recorded. Several threads may ask at once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._recorded: dict[Hashable, datetime] = {}
        self._lock = threading.Lock()

    def is_new(self, view: Hashable) -> bool:
        """True where this view is to be recorded now; within `WINDOW` after that, False."""
        now = self._clock()
        with self._lock:
            last = self._recorded.get(view)
            if last is not None and now - last < WINDOW:
                return False
            if len(self._recorded) >= _MOST:
                # Recording one view twice is harmless, forgetting to record one is not.
                self._recorded.clear()
            self._recorded[view] = now
            return True

    def forget(self, view: Hashable) -> None:
        """Record it anew next time: it could not be written."""
        with self._lock:
            self._recorded.pop(view, None)
