"""Keeping an indexer at work beside the receiver: as a process that is started again when it ends, or as a thread."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dicom_node.inbound.fast.index_process import start_process
from dicom_node.inbound.fast.indexer import Indexer

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
_STOPS_WITHIN_S = 8.0


class Indexing(Protocol):
    """An indexer at work."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End when all is indexed, or after some seconds: the rest is indexed next time."""


class IndexingThread:
    """In this process: for tests and small nodes."""

    def __init__(self, indexer: Indexer) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=indexer.run, args=(self._stopping.is_set,), name="indexer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """See `Indexing`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_STOPS_WITHIN_S)


class IndexingProcess:
    """In a process of its own, started again when it ends before its time, and tried again where that cannot be."""

    def __init__(self, folder: Path, root: Path, database_url: str, session: int) -> None:
        self._start_one: Callable[[], subprocess.Popen[bytes]] = lambda: start_process(
            folder, root, database_url, session
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="indexer-watch", daemon=True)

    @property
    def process_id(self) -> int | None:
        """Of the process at work, None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Begin. Raises OSError."""
        self._process = self._start_one()
        self._thread.start()

    def stop(self) -> None:
        """See `Indexing`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            process = self._process
            if process is not None and process.poll() is not None:
                _log.error("the indexer ended with status %s and is started again", process.returncode)
                assert process.stdin is not None
                process.stdin.close()
                self._process = process = None
            if process is None:
                try:
                    self._process = self._start_one()
                except OSError as error:  # for want of memory or processes, which is what ended the former one, too
                    _log.error("the indexer could not be started and is tried again: %s", error)
