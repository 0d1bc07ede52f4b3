"""How far the indexer has come: every record before the cursor has its file and its row."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from dicom_node.inbound.fast.segments import Place
from storage.durable import FILE_MODE

_FIELDS = struct.Struct("<QQQ")
_CHECK = struct.Struct("<I")
_NAME = "cursor"


class Cursor:
    """The cursor of a journal's folder. One process writes, any may read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def read(self) -> Place:
        """The cursor; (0, 0) where there is none yet or it is damaged: everything is then indexed again."""
        return self._read()[0]

    def count(self) -> int:
        """How many records were indexed since the folder was made."""
        return self._read()[1]

    def _read(self) -> tuple[Place, int]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        if len(data) >= _FIELDS.size + _CHECK.size:
            sequence, offset, count = _FIELDS.unpack_from(data)
            if _CHECK.unpack_from(data, _FIELDS.size)[0] == zlib.crc32(data[: _FIELDS.size]):
                return Place(sequence=sequence, offset=offset), count
        return Place(sequence=0, offset=0), 0

    def write(self, place: Place, count: int, *, sync: bool) -> None:
        """Move the cursor. sync: also against a power cut, needed before a segment is used again. Raises OSError."""
        fields = _FIELDS.pack(place.sequence, place.offset, count)
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
        try:
            # In one sector: a reader and a power cut see the former or the new one.
            os.pwrite(descriptor, fields + _CHECK.pack(zlib.crc32(fields)), 0)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
