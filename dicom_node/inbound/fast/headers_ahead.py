"""The headers of a journal's records from a place on, without their data: how many wait, and since when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dicom_node.inbound.fast.records import HEADER_BYTES, RecordHeader, unpack_header
from dicom_node.inbound.fast.segments import FIRST_RECORD, Place, segments_in


def headers_from(folder: Path, place: Place) -> Iterator[RecordHeader]:
    """In their order, up to what was appended last; those behind damage within a segment are left out. Raises OSError.

    One process may append and another index meanwhile.
    """
    for sequence, path in segments_in(folder).items():
        if sequence < place.sequence:
            continue
        offset = max(place.offset, FIRST_RECORD) if sequence == place.sequence else FIRST_RECORD
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                header = unpack_header(os.pread(descriptor, HEADER_BYTES, offset))
                if header is None or header.sequence != sequence:
                    break
                yield header
                offset += header.total_bytes
        finally:
            os.close(descriptor)
