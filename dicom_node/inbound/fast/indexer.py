"""Behind the answer: each record of the journal becomes a file of the store and a row, once.

A record may be read again after a crash. That changes nothing: the same bytes under the same name are one file, and a
row that is there is a duplicate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dicom_node.inbound.fast.big_objects import remove_older_files
from dicom_node.inbound.fast.cursor import Cursor
from dicom_node.inbound.fast.reader import Damage, JournalReader, Record
from dicom_node.inbound.fast.segments import last_written
from dicom_node.inbound.ingest import Claim, Ingest, Receipt
from storage.errors import StorageError

_log = logging.getLogger(__name__)

_BATCH_RECORDS = 32
_BATCH_BYTES = 16 << 20
_IDLE_S = 0.05
_RETRY_S = 1.0
#: While objects come in the indexer waits: it would take processor and disk from the answers. A series is in by then.
_FLOWING_S = 0.1
_GIVES_WAY_S = 2.0
#: A batch that failed as often is indexed one by one.
_ALONE_AFTER = 5


class Indexer:
    """Takes the journal in `folder` into the store.

    Args:
        session: the first sequence number of the receiver's present session.
    """

    def __init__(self, folder: Path, ingest: Ingest, session: int) -> None:
        self._folder = folder
        self._ingest = ingest
        self._session = session
        self._cleaned = False
        self._cursor = Cursor(folder)
        self._reader = JournalReader(folder, self._cursor.read())
        self._count = self._cursor.count()
        self._failures = 0
        self._flowing_since: float | None = None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Index until `stopping`; what is there by then is indexed before it returns."""
        while True:
            last = stopping()
            try:
                worked = (last or not self._gives_way()) and self.step()
            except (StorageError, OSError) as error:
                _log.error("indexing waits: %s", getattr(error, "code", type(error).__name__))
                self._failures += 1
                self._begin_again()
                worked = False
                if not last:
                    time.sleep(_RETRY_S)
            if not worked:
                if last:
                    self._reader.close()
                    return
                time.sleep(_IDLE_S)

    def step(self) -> bool:
        """Index the next records; False where there was none.

        Raises:
            StorageError, OSError: these records are read again next time.
        """
        before = self._reader.place
        batch = self._next_batch()
        if batch:
            self._index(batch)
            self._count += len(batch)
        place = self._reader.place
        if place != before:
            self._cursor.write(place, self._count, sync=place.sequence != before.sequence)
        for record in batch:
            if record.file:
                (self._folder / record.file).unlink(missing_ok=True)
        if not self._cleaned and not batch and place.sequence >= self._session:
            remove_older_files(self._folder, self._session)
            self._cleaned = True
        return bool(batch)

    def _gives_way(self) -> bool:
        """Whether objects are coming in, unless they have been for so long that their rows are due."""
        if not 0 <= time.time() - last_written(self._folder) < _FLOWING_S:
            self._flowing_since = None
            return False
        now = time.monotonic()
        if self._flowing_since is None:
            self._flowing_since = now
        return now - self._flowing_since < _GIVES_WAY_S

    def _next_batch(self) -> list[Record]:
        batch: list[Record] = []
        size = 0
        while len(batch) < _BATCH_RECORDS and size < _BATCH_BYTES:
            found = self._reader.next()
            if found is None:
                break
            if isinstance(found, Damage):
                text = f"{found.after.offset - found.place.offset} bytes of the receive journal are damaged"
                _log.error("%s: what they held is to be sent again", text)
                self._ingest.note("journal-damaged", text)
                continue
            batch.append(found)
            size += len(found.data)
        return batch

    def _index(self, batch: list[Record]) -> None:
        objects = [(source, record.claim) for record in batch if (source := self._source(record)) is not None]
        receipts = self._together(objects) if self._failures < _ALONE_AFTER else self._one_by_one(objects)
        self._failures = 0
        for (_, claim), receipt in zip(objects, receipts, strict=True):
            if not receipt.taken.filed:
                _log.warning("object from %r quarantined as %s: %s", claim.calling_ae, receipt.taken, receipt.reason)

    def _together(self, objects: Sequence[tuple[bytes | Path, Claim]]) -> list[Receipt]:
        try:
            return self._ingest.receive_all(objects)
        except StorageError as error:
            if error.transient:
                raise
        except OSError:
            raise
        except Exception:
            _log.exception("a batch of %d objects could not be indexed, now one by one", len(objects))
        return self._one_by_one(objects)

    def _one_by_one(self, objects: Sequence[tuple[bytes | Path, Claim]]) -> list[Receipt]:
        """One object that no rule foresaw must not hold up those behind it; where the disk is broken all wait."""
        receipts = []
        for source, claim in objects:
            try:
                receipts.append(self._ingest.receive(source, claim))
            except Exception as error:
                receipts.append(self._ingest.quarantine(source, claim, f"filing it raised {type(error).__name__}"))
        return receipts

    def _source(self, record: Record) -> bytes | Path | None:
        """What to file; None where a large object's file is gone: it was indexed before a crash."""
        if not record.file:
            return record.data
        path = self._folder / record.file
        return path if path.is_file() else None

    def _begin_again(self) -> None:
        with suppress(OSError):
            self._reader.close()
        self._reader = JournalReader(self._folder, self._cursor.read())
