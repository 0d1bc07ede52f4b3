"""Refused associations: a line of the log for the first of a kind in a while, a counted row for all."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from dicom_node.inbound.peers import Refusal
from storage.clock import Clock, utc_now
from storage.errors import StorageError
from storage.refusals import RefusalRepository, RefusalRow

_log = logging.getLogger(__name__)

_FLUSH_S = 1.0
_SAY_AGAIN_S = 60.0
#: Kinds between two writes; what comes beyond is counted in none.
_MOST_KINDS = 500

_Key = tuple[str, str, str, str]


class RefusalLog:
    """Takes refusals from any thread without making it wait; writes them once a second.

    Args:
        repository: None keeps no rows.
    """

    def __init__(self, repository: RefusalRepository | None, clock: Clock = utc_now) -> None:
        self._repository = repository
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[_Key, RefusalRow] = {}
        self._said: dict[_Key, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusal-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write the rest."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def note(self, refusal: Refusal, calling_ae: str, called_ae: str, address: str) -> None:
        """Count one refusal."""
        now = self._clock()
        key = (refusal.reason.value, calling_ae, called_ae, address)
        with self._lock:
            quiet = now.timestamp() - self._said.get(key, 0.0) < _SAY_AGAIN_S
            if not quiet:
                if len(self._said) >= _MOST_KINDS:
                    self._said.clear()
                self._said[key] = now.timestamp()
            row = self._rows.get(key)
            if row is not None:
                self._rows[key] = replace(row, count=row.count + 1, last_at=now)
            elif len(self._rows) < _MOST_KINDS:
                self._rows[key] = RefusalRow(
                    reason=refusal.reason.value,
                    calling_ae=calling_ae,
                    called_ae=called_ae,
                    address=address,
                    text=refusal.text,
                    count=1,
                    first_at=now,
                    last_at=now,
                )
        if not quiet:
            # %r: a title from the wire may hold control characters.
            _log.warning("refused (%s): %r", refusal.reason, refusal.text)

    def _run(self) -> None:
        while not self._stopping.wait(_FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            rows, self._rows = list(self._rows.values()), {}
        if self._repository is not None:
            try:
                self._repository.add(rows)
            except StorageError as error:
                _log.error("%d kinds of refusals were not kept: %s", len(rows), error.code)
