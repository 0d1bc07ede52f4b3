"""The listener's condition, written as a row every few seconds: other processes show it, and wait for its backlog."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from storage.clock import Clock
from storage.errors import StorageError
from storage.receivers import ReceiverRepository, ReceiverRow, Sender

_log = logging.getLogger(__name__)

_EVERY_S = 2.0
#: While objects come, and for a while after: studies are judged no sooner than the row says all is filed.
_BUSY_EVERY_S = 0.5
_BUSY_FOR_S = 60.0


class ReceiverReport:
    """Writes the row of one listener until stopped.

    Args:
        associations, backlog_bytes, pressure, senders: the condition now.
        filed_through: (T, objects without a row): all received before T has its row. None as T: always.
    """

    def __init__(
        self,
        repository: ReceiverRepository,
        name: str,
        *,
        associations: Callable[[], int],
        backlog_bytes: Callable[[], int],
        pressure: Callable[[], str],
        filed_through: Callable[[], tuple[datetime | None, int]],
        senders: Callable[[], Mapping[str, Sender]],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._name = name
        self._associations = associations
        self._backlog_bytes = backlog_bytes
        self._pressure = pressure
        self._filed_through = filed_through
        self._senders = senders
        self._said = ""
        self._busy_until = 0.0
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver-report", daemon=True)

    def start(self) -> None:
        """Write the first row, then begin: whoever finds an object's row finds the listener's."""
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """End. `say_last` follows, when nothing more is filed."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def say_last(self) -> None:
        """Write the last row: where everything is filed nobody waits for this listener any more."""
        through, objects = self._filed_through()
        self._write(ended=through is not None and not objects)

    def _run(self) -> None:
        while not self._stopping.wait(_BUSY_EVERY_S if time.monotonic() < self._busy_until else _EVERY_S):
            self._write()

    def _write(self, *, ended: bool = False) -> None:
        try:
            pressure = self._pressure()
            if pressure != self._said:
                _log.error("no association is taken: %s", pressure) if pressure else _log.info("receiving again")
                self._said = pressure
            senders, associations = self._senders(), self._associations()
            filed_through, objects = self._filed_through()
            if associations or objects:
                self._busy_until = time.monotonic() + _BUSY_FOR_S
            self._repository.put(
                ReceiverRow(
                    name=self._name,
                    at=self._clock(),
                    associations=associations,
                    backlog_bytes=self._backlog_bytes(),
                    pressure=pressure,
                    backlog_objects=objects,
                    filed_through=None if ended else filed_through,
                    senders={} if ended else senders,
                )
            )
        except (StorageError, OSError) as error:
            _log.error("the listener's condition was not written: %s", getattr(error, "code", type(error).__name__))
