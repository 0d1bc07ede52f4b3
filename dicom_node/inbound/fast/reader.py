"""Reading the journal from a place on, while another process appends to it or after that process was killed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dicom_node.inbound.fast.records import (
    ALIGNMENT,
    HEADER_BYTES,
    RecordHeader,
    checksum,
    unpack_claim,
    unpack_header,
)
from dicom_node.inbound.fast.segments import FIRST_RECORD, Place, segments_in
from dicom_node.inbound.ingest import Claim

_SCAN_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Record:
    """One object. after: the place behind it. data: the data set, empty where it is in `file`."""

    after: Place
    claim: Claim
    file: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Bytes that are no record although more follows them: what they held is lost unless its sender has it still."""

    after: Place
    place: Place


class JournalReader:
    """Reads forward from `place`. One thread at a time; `close` when done."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        self.place = place
        self._descriptor = -1

    def next(self) -> Record | Damage | None:
        """What stands next; None where nothing (more) was appended yet. Raises OSError."""
        while True:
            if self._descriptor < 0 and not self._open():
                return None
            found: Record | Damage | None = self._at(self.place)
            if found is not None:
                self.place = found.after
                return found
            # The writer ends with a segment before it begins the next: in this order nothing is missed.
            more = max(segments_in(self._folder), default=0) > self.place.sequence
            found = self._at(self.place)
            if found is None:
                offset = self._scan(self.place.offset) if more else self._behind_damage(self.place.offset)
                if offset is not None:
                    after = Place(sequence=self.place.sequence, offset=offset)
                    found = Damage(place=self.place, after=after)
            if found is not None:
                self.place = found.after
                return found
            if not more:
                return None
            self.close()
            self.place = Place(sequence=self.place.sequence + 1, offset=FIRST_RECORD)

    def close(self) -> None:
        """Give the descriptor back; `next` opens anew."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        for sequence, path in segments_in(self._folder).items():
            if sequence >= self.place.sequence:
                if sequence > self.place.sequence or self.place.offset < FIRST_RECORD:
                    self.place = Place(sequence=sequence, offset=FIRST_RECORD)
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                return True
        return False

    def _at(self, place: Place) -> Record | None:
        header = self._header_at(place.offset)
        if header is None:
            return None
        size = header.claim_bytes + header.data_bytes
        body = os.pread(self._descriptor, size, place.offset + HEADER_BYTES)
        claim, data = body[: header.claim_bytes], body[header.claim_bytes :]
        if len(body) != size or checksum(claim, data) != header.crc:
            return None
        try:
            said, file = unpack_claim(claim, header.received_us)
        except ValueError:
            return None
        after = Place(sequence=place.sequence, offset=place.offset + header.total_bytes)
        return Record(after=after, claim=said, file=file, data=data)

    def _header_at(self, offset: int) -> RecordHeader | None:
        header = unpack_header(os.pread(self._descriptor, HEADER_BYTES, offset))
        return header if header is not None and header.sequence == self.place.sequence else None

    def _behind_damage(self, offset: int) -> int | None:
        """Where the record behind a damaged one begins; None where the one at `offset` is still being appended."""
        header = self._header_at(offset)
        if header is None or self._header_at(offset + header.total_bytes) is None:
            return None
        return offset + header.total_bytes

    def _scan(self, offset: int) -> int | None:
        """Where the next whole record begins in a segment that is complete; None where none follows.

        Nothing of its sequence follows the end of a segment, nor a tail that a crash tore.
        """
        offset += ALIGNMENT
        while block := os.pread(self._descriptor, _SCAN_BYTES, offset):
            at = block.find(b"BTJR")
            while at >= 0:
                place = Place(sequence=self.place.sequence, offset=offset + at)
                if (offset + at) % ALIGNMENT == 0 and self._at(place) is not None:
                    return offset + at
                at = block.find(b"BTJR", at + 1)
            if len(block) < _SCAN_BYTES:
                return None
            offset += len(block) - ALIGNMENT
        return None
