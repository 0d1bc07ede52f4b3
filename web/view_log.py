"""Which views stand in the audit trail already: a list that refreshes itself is one view, not twelve a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

#: Within it, the same person at the same address looking at the same thing is one entry.
WINDOW = timedelta(minutes=5)
_MOST = 10_000


class ViewLog:
    """Remembers for `WINDOW` what was written. Several threads may ask at once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._written: dict[Hashable, datetime] = {}
        self._lock = threading.Lock()

    def is_written(self, view: Hashable) -> bool:
        """True where this view is in the audit trail already."""
        last = self._written.get(view)
        return last is not None and self._clock() - last < WINDOW

    def written(self, view: Hashable) -> None:
        """Say that this view is in the audit trail: after it was committed, never before."""
        with self._lock:
            if len(self._written) >= _MOST:
                # Recording one view twice is harmless, forgetting to record one is not.
                self._written.clear()
            self._written[view] = self._clock()
