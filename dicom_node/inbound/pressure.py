"""Back-pressure: when no new association is taken, before the disk or the backlog breaks anything.

It ends later than it began, so that a disk at the limit does not open and close the door with every object.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Pressure ends with this much more free space than it began with.
_FREE_AGAIN = 1.25
#: Pressure begins at this part of the backlog at which objects are answered 0xA700, and ends at the other.
_BACKLOG_BEGINS, _BACKLOG_ENDS = 0.9, 0.6


class Pressure:
    """What presses just now. Threads may share one.

    Args:
        free_bytes, backlog_bytes: of now.
        min_free_bytes, max_backlog_bytes: where objects are answered 0xA700; 0 is no limit.
    """

    def __init__(
        self,
        *,
        free_bytes: Callable[[], int],
        min_free_bytes: int,
        backlog_bytes: Callable[[], int],
        max_backlog_bytes: int,
    ) -> None:
        self._free_bytes = free_bytes
        self._min_free_bytes = min_free_bytes
        self._backlog_bytes = backlog_bytes
        self._max_backlog_bytes = max_backlog_bytes
        self._disk = self._backlog = False
        self._lock = threading.Lock()

    def reason(self) -> str:
        """Why no association is taken, with what to do; '' where one is. Raises StorageError."""
        free, backlog = self._free_bytes(), self._backlog_bytes()
        with self._lock:
            self._disk = free < self._min_free_bytes * (_FREE_AGAIN if self._disk else 1.0)
            part = _BACKLOG_ENDS if self._backlog else _BACKLOG_BEGINS
            self._backlog = bool(self._max_backlog_bytes) and backlog > self._max_backlog_bytes * part
            if self._disk:
                return f"{free >> 20} MB free on the disk, storage.min_free_mb is {self._min_free_bytes >> 20}"
            if self._backlog:
                return f"{backlog >> 20} MB wait to be indexed, node.max_backlog_mb is {self._max_backlog_bytes >> 20}"
            return ""
