"""One received object as a record of the journal: fixed header, claim, data set; each part under a CRC-32.

All numbers little endian. A record begins at a multiple of 8 bytes:

    4s  magic            4  bytes of the claim (JSON)     8  sequence of its segment
    4   bytes of data    4  CRC-32 of claim and data      8  received at, microseconds since 1970 (UTC)
    4   CRC-32 of the fields before                       4  zero

The sequence tells a record from what a segment held before it was used again.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# zlib's CRC-32 by vector instructions: a tenth of the time, which was a tenth of a reception's.
from isal.isal_zlib import crc32

from dicom_node.inbound.ingest import Claim

ALIGNMENT = 8
_MAGIC = b"BTJR"
_FIELDS = struct.Struct("<4sIQIIQ")
_CHECK = struct.Struct("<II")
HEADER_BYTES = _FIELDS.size + _CHECK.size
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class RecordHeader:
    """What stands before a record's claim and data."""

    claim_bytes: int
    sequence: int
    data_bytes: int
    crc: int
    received_us: int

    @property
    def total_bytes(self) -> int:
        """The record with its header and padding."""
        return padded(HEADER_BYTES + self.claim_bytes + self.data_bytes)


def padded(size: int) -> int:
    """`size` up to the next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def pack_header(header: RecordHeader) -> bytes:
    """The header's bytes."""
    fields = _FIELDS.pack(
        _MAGIC, header.claim_bytes, header.sequence, header.data_bytes, header.crc, header.received_us
    )
    return fields + _CHECK.pack(crc32(fields), 0)


def unpack_header(data: bytes) -> RecordHeader | None:
    """The header in `data`, None where there is none or it is damaged."""
    if len(data) < HEADER_BYTES or data[:4] != _MAGIC:
        return None
    check, _ = _CHECK.unpack_from(data, _FIELDS.size)
    if crc32(data[: _FIELDS.size]) != check:
        return None
    _, claim_bytes, sequence, data_bytes, crc, received_us = _FIELDS.unpack_from(data)
    return RecordHeader(
        claim_bytes=claim_bytes, sequence=sequence, data_bytes=data_bytes, crc=crc, received_us=received_us
    )


def pack_claim(claim: Claim, file: str = "") -> bytes:
    """What a record says of its object. file: that holds the data set, if not the record."""
    values = [claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid, claim.calling_ae, file]
    return json.dumps(values).encode("ascii")


def unpack_claim(data: bytes, received_us: int) -> tuple[Claim, str]:
    """Claim and file name as `pack_claim` took them.

    Raises:
        ValueError: not what `pack_claim` wrote.
    """
    sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling_ae, file = map(str, json.loads(data))
    claim = Claim(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae=calling_ae,
        received_at=time_of(received_us),
    )
    return claim, file


def microseconds(at: datetime) -> int:
    """An aware time as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def time_of(received_us: int) -> datetime:
    """What `microseconds` took, in UTC."""
    return _EPOCH + timedelta(microseconds=received_us)


def checksum(claim: bytes, data: bytes | bytearray | memoryview) -> int:
    """The CRC-32 of a record's claim followed by its data."""
    return crc32(data, crc32(claim))
