"""The journal: received objects appended to segments; whoever answers waits until a sync has covered its record.

One sync serves every association whose record was appended before it began (group commit). Records stand in the order
they were appended, so that all before an acknowledged one are whole after any crash.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from dicom_node.inbound.fast.cursor import Cursor
from dicom_node.inbound.fast.headers_ahead import headers_from
from dicom_node.inbound.fast.records import (
    HEADER_BYTES,
    RecordHeader,
    microseconds,
    pack_header,
    padded,
    time_of,
)
from dicom_node.inbound.fast.segments import SUFFIX, Place, Segment, make_segment, segments_in, sequence_of
from storage.clock import Clock, utc_now
from storage.durable import as_storage_error
from storage.errors import StorageError, StorageFault, StorageFull

#: The largest data set that is kept in a record; a larger one has a file of its own.
MAX_RECORD_DATA_BYTES = 1 << 20

#: Segments kept ready for use again.
_SPARE_SEGMENTS = 2


class Journal:
    """The journal in `folder`, written by one process. Any number of threads may append and commit.

    Args:
        segment_bytes: of a new segment, at least four of the largest records.
        max_segments: with as many not yet indexed, `append` raises StorageFull.

    Raises:
        StorageFull, StorageFault: the first segment could not be made.
    """

    def __init__(
        self, folder: Path, *, segment_bytes: int = 64 << 20, max_segments: int = 64, clock: Clock = utc_now
    ) -> None:
        if segment_bytes < 4 * MAX_RECORD_DATA_BYTES:
            raise ValueError("a segment holds at least four of the largest records")
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._max_segments = max_segments
        self._cursor = Cursor(folder)
        self._clock = clock
        self._filed_through = datetime.fromtimestamp(0, UTC)
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._appended = 0
        self._synced = 0
        self._lost: list[range] = []
        self._preparing: threading.Thread | None = None
        try:
            self._remove_half_made()
            last = max(segments_in(folder), default=0)
            cursor = self._cursor.read()
            self._counted_before = self._cursor.count() + sum(1 for _ in headers_from(folder, cursor))
            self._segment = Segment(self._unused() or self._make(), max(last, cursor.sequence) + 1)
        except OSError as error:
            raise as_storage_error(error, "beginning the journal", folder) from error

    @property
    def end(self) -> Place:
        """Where the next record will stand."""
        return self._segment.place

    @property
    def indexed(self) -> bool:
        """Whether every record has its file and row."""
        return self._cursor.read() >= self.end

    def backlog_bytes(self) -> int:
        """About how much waits for the indexer."""
        cursor, end = self._cursor.read(), self.end
        first = cursor.sequence or min(segments_in(self.folder), default=end.sequence)
        between = (end.sequence - first) * self._segment_bytes
        return max(0, between + end.offset - cursor.offset)

    def filed_through(self) -> tuple[datetime, int]:
        """(T, how many records have no row yet): every record received before T has its file and row."""
        with self._appending:
            # Records get their time under this lock: whatever is appended from here on was received later.
            now, end, appended = self._clock(), self.end, self._counted_before + self._appended
        cursor, filed = self._cursor.read(), self._cursor.count()
        if cursor >= end or filed == appended:
            self._filed_through = now
            return now, 0
        oldest = next(headers_from(self.folder, cursor), None)
        if oldest is not None:
            self._filed_through = max(self._filed_through, time_of(oldest.received_us))
        return self._filed_through, max(1, appended - filed)

    def append(self, claim: bytes, data: bytes | bytearray | memoryview, crc: int) -> int:
        """Add a record, received now; its ticket for `commit`. claim, crc: as of `records`.

        Raises:
            StorageFull: no space, or the indexer is too far behind. StorageFault. Nothing was added.
        """
        size = padded(HEADER_BYTES + len(claim) + len(data))
        with self._appending:
            try:
                if self._segment.failed or not self._segment.has_room(size):
                    self._next_segment()
                header = RecordHeader(
                    claim_bytes=len(claim),
                    sequence=self._segment.sequence,
                    data_bytes=len(data),
                    crc=crc,
                    received_us=microseconds(self._clock()),
                )
                self._segment.write((pack_header(header), claim, data), size)
            except OSError as error:
                raise as_storage_error(error, "receiving an object", self.folder) from error
            self._appended += 1
            if self._segment.offset * 2 > self._segment_bytes:
                self._prepare_next()
            return self._appended

    def commit(self, ticket: int) -> None:
        """Return when the record of `ticket` lasts.

        Raises:
            StorageFault: it does not, and will not; the sender must send the object again.
        """
        with self._syncing:
            # While a failed segment stands, every record not synced is in it.
            if any(ticket in lost for lost in self._lost) or (self._segment.failed and ticket > self._synced):
                raise StorageFault("the disk could not sync a received object", self.folder)
            if ticket > self._synced:
                # What is counted here is in this segment: only a holder of this lock begins another one.
                self._sync(self._appended)

    def close(self) -> None:
        """Sync and give the segment back."""
        with self._appending, self._syncing:
            with suppress(StorageError):
                self._sync(self._appended)
            self._segment.close()
        if self._preparing is not None:
            self._preparing.join()

    def _sync(self, appended: int) -> None:
        if self._segment.failed:
            return
        try:
            self._segment.sync()
        except OSError as error:
            # The kernel may have dropped the pages, and a second sync would not say so.
            self._segment.failed = True
            raise as_storage_error(error, "syncing received objects", self.folder) from error
        self._synced = max(self._synced, appended)

    def _next_segment(self) -> None:
        if self._preparing is not None:
            self._preparing.join()
            self._preparing = None
        path = self._unused() or self._make()
        with self._syncing:
            former = self._segment
            with suppress(StorageError):  # whoever waits for a record of it is told by `commit`
                self._sync(self._appended)
            if former.failed:
                self._lost = [*self._lost[-16:], range(self._synced + 1, self._appended + 1)]
                self._synced = self._appended
            self._segment = Segment(path, former.sequence + 1)
            former.close()

    def _prepare_next(self) -> None:
        """Have the next segment made before it is needed: writing its zeros takes a while."""
        if self._preparing is None:
            self._preparing = threading.Thread(target=self._prepare, name="journal-segment", daemon=True)
            self._preparing.start()

    def _prepare(self) -> None:
        with suppress(OSError, StorageError):  # tried again, and told, when it is needed
            if self._unused() is None:
                self._make()

    def _unused(self) -> Path | None:
        """A segment all of whose records are indexed; those beyond the spare ones are removed."""
        cursor = self._cursor.read()
        unused = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.stat().st_size == self._segment_bytes:
                sequence = sequence_of(path)
                # 0: made, and not begun yet.
                if sequence == 0 or sequence < cursor.sequence:
                    unused.append(path)
        for path in unused[_SPARE_SEGMENTS:]:
            path.unlink()
        return unused[0] if unused else None

    def _make(self) -> Path:
        numbers = {int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdigit()}
        if len(numbers) >= self._max_segments:
            raise StorageFull("too many received objects wait to be indexed: see the log of the indexer")
        path = self.folder / f"{min(set(range(len(numbers) + 1)) - numbers):04d}{SUFFIX}"
        make_segment(path, self._segment_bytes)
        return path

    def _remove_half_made(self) -> None:
        for path in self.folder.glob(f"*{SUFFIX}"):
            if sequence_of(path) == 0 and path.stat().st_size != self._segment_bytes:
                path.unlink()
