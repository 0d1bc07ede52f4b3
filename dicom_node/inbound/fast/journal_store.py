"""The journal of one receiver with all that belongs to it: folder, lock, large objects, and the indexer behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from dicom_node.inbound.fast.big_objects import BigObjects
from dicom_node.inbound.fast.indexer import Indexer
from dicom_node.inbound.fast.indexing import Indexing, IndexingProcess, IndexingThread
from dicom_node.inbound.fast.journal import Journal
from dicom_node.inbound.fast.reception import Reception
from dicom_node.inbound.ingest import Ingest
from storage.clock import Clock, utc_now
from storage.errors import AlreadyRunning
from storage.files import FileStore

_FOLDER = "spool/receiver-{}"
_MOST_RECEIVERS = 64


class JournalStore:
    """What receivers put objects into, durable when answered, indexed soon after.

    Receivers that share a store have a folder each. What a receiver left that is gone is indexed first.

    Args:
        database_url: the indexer then runs in a process of its own; None is a thread of this one.

    Raises:
        StorageFull, StorageFault: the journal could not be begun.
    """

    def __init__(
        self,
        files: FileStore,
        ingest: Ingest,
        *,
        database_url: str | None = None,
        segment_bytes: int = 64 << 20,
        max_backlog_bytes: int = 4 << 30,
        clock: Clock = utc_now,
    ) -> None:
        self._files = files
        self._ingest = ingest
        self._held = ExitStack()
        folder = self._own_folder()
        index_left_behind(files, ingest)
        self.journal = Journal(
            folder, segment_bytes=segment_bytes, max_segments=max_backlog_bytes // segment_bytes, clock=clock
        )
        session = self.journal.end.sequence
        self._big_objects = BigObjects(folder, session)
        self._indexing: Indexing = (
            IndexingThread(Indexer(folder, ingest, session))
            if database_url is None
            else IndexingProcess(folder, files.root, database_url, session)
        )

    def start(self) -> None:
        """Begin to index. Raises OSError."""
        self._indexing.start()

    def begin_reception(self) -> Reception:
        """What receives the objects of one association."""
        return Reception(self.journal, self._big_objects, self._ingest, self._files.check_room)

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.journal.folder.name

    def backlog_bytes(self) -> int:
        """About how much waits to be indexed."""
        return 0 if self.journal.indexed else self.journal.backlog_bytes()

    def filed_through(self) -> tuple[datetime, int]:
        """(T, objects that were answered and have no row yet): all that was received before T has its row."""
        return self.journal.filed_through()

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was received is indexed; False where it was not in time."""
        return _until(lambda: self.journal.indexed, timeout_s)

    def close(self) -> None:
        """End; what is not indexed by then is indexed next time."""
        self.journal.close()
        self._indexing.stop()
        self._held.close()

    def _own_folder(self) -> Path:
        for number in range(_MOST_RECEIVERS):
            folder = self._files.make_folder(_FOLDER.format(number))
            try:
                self._held.enter_context(self._files.lock(f"receiver-{number}"))
                return folder
            except AlreadyRunning:
                continue
        raise AlreadyRunning(f"{_MOST_RECEIVERS} receivers share this store already")


def index_left_behind(files: FileStore, ingest: Ingest) -> None:
    """Index what receivers of this store left that are gone; those that live keep theirs.

    Raises:
        OSError: a journal cannot be read.
    """
    for folder in sorted((files.root / _FOLDER).parent.glob(_FOLDER.partition("/")[2].format("*"))):
        try:
            with files.lock(folder.name):
                Indexer(folder, ingest, 1 << 62).run(lambda: True)
        except AlreadyRunning:
            continue


def _until(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
