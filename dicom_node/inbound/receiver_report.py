"""The listener's condition, written as a row every few seconds: other processes show it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from storage.clock import Clock
from storage.errors import StorageError
from storage.receivers import ReceiverRepository, ReceiverRow

_log = logging.getLogger(__name__)

EVERY_S = 5.0


class ReceiverReport:
    """Writes the row of one listener until stopped.

    Args:
        associations, backlog_bytes, pressure: the condition now.
    """

    def __init__(
        self,
        repository: ReceiverRepository,
        name: str,
        *,
        associations: Callable[[], int],
        backlog_bytes: Callable[[], int],
        pressure: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._name = name
        self._associations = associations
        self._backlog_bytes = backlog_bytes
        self._pressure = pressure
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver-report", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        said = ""
        while True:
            try:
                pressure = self._pressure()
                if pressure != said:
                    _log.error("no association is taken: %s", pressure) if pressure else _log.info("receiving again")
                    said = pressure
                self._repository.put(
                    ReceiverRow(
                        name=self._name,
                        at=self._clock(),
                        associations=self._associations(),
                        backlog_bytes=self._backlog_bytes(),
                        pressure=pressure,
                    )
                )
            except StorageError as error:
                _log.error("the listener's condition was not written: %s", error.code)
            if self._stopping.wait(EVERY_S):
                return
