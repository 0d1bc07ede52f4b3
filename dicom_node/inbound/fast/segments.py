"""Segments: the journal's files, written in advance and used again, so that a sync has no file size to change.

A segment begins with its sequence number. Using a segment again means a higher number: what it held before is
recognised by the lower number in its records.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dicom_node.inbound.fast.records import ALIGNMENT, HEADER_BYTES, unpack_header
from storage.durable import FILE_MODE, sync_folder

SUFFIX = ".journal"
_MAGIC = b"BTJS"
_VERSION = 1
_FIELDS = struct.Struct("<4sIQ")
_CHECK = struct.Struct("<I")
#: Where the first record begins.
FIRST_RECORD = 64
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """A place in the journal. offset: bytes from the beginning of the segment."""

    sequence: int
    offset: int


class Segment:
    """A segment being written. One thread at a time."""

    def __init__(self, path: Path, sequence: int) -> None:
        """Begin to write `path` under a new `sequence`. Raises OSError."""
        self.sequence = sequence
        self.failed = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(self._descriptor).st_size
        self.offset = FIRST_RECORD
        fields = _FIELDS.pack(_MAGIC, _VERSION, sequence)
        os.pwrite(self._descriptor, fields + _CHECK.pack(zlib.crc32(fields)), 0)

    @property
    def place(self) -> Place:
        """Where the next record will stand."""
        return Place(sequence=self.sequence, offset=self.offset)

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.offset + size <= self._size

    def write(self, parts: Sequence[bytes | bytearray | memoryview], size: int) -> None:
        """Append one record of `size` bytes, padding included. Raises OSError; the place is then written again."""
        padding = size - sum(len(part) for part in parts)
        assert 0 <= padding < ALIGNMENT
        written = os.pwritev(self._descriptor, [*parts, bytes(padding)], self.offset)
        if written != size:
            data = b"".join(parts)[written:] + bytes(padding)
            while data:
                moved = os.pwrite(self._descriptor, data, self.offset + size - len(data))
                data = data[moved:]
        self.offset += size

    def sync(self) -> None:
        """Make what was written last. Raises OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def make_segment(path: Path, size: int) -> None:
    """A new segment file of zeros, its blocks written, its name synced. Raises OSError: the file is gone."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
        left = size
        while left > 0:
            left -= os.write(descriptor, memoryview(_ZEROS)[: min(left, len(_ZEROS))])
        os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sequence_of(path: Path) -> int:
    """The sequence number a segment was begun with, 0 where it never was. Raises OSError.

    Where the segment's own header is damaged its first record tells.
    """
    with path.open("rb") as stream:
        data = stream.read(FIRST_RECORD + HEADER_BYTES)
    if len(data) >= FIRST_RECORD and data[:4] == _MAGIC:
        _, version, sequence = _FIELDS.unpack_from(data)
        (check,) = _CHECK.unpack_from(data, _FIELDS.size)
        if version == _VERSION and zlib.crc32(data[: _FIELDS.size]) == check:
            return int(sequence)
    first = unpack_header(data[FIRST_RECORD:])
    return first.sequence if first else 0


def segments_in(folder: Path) -> dict[int, Path]:
    """The segments of a folder that were begun, by sequence number. Raises OSError."""
    found = {sequence_of(path): path for path in folder.glob(f"*{SUFFIX}")}
    found.pop(0, None)
    return dict(sorted(found.items()))


def last_written(folder: Path) -> float:
    """When one of a folder's segments was last written to, in seconds since 1970; 0 where there is none."""
    times = [0.0]
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # a spare one that was removed meanwhile
            times.append(path.stat().st_mtime)
    return max(times)
