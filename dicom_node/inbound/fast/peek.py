"""The SOP class and instance a data set names, read from its first bytes without parsing the rest."""

from __future__ import annotations

import struct
import zlib

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.inbound.parsing import GE_PRIVATE_IMPLICIT_BIG_ENDIAN

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
#: Value representations whose length takes four bytes after two reserved ones (PS3.5 section 7.1.2).
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED = 0xFFFFFFFF
_READERS = {order: tuple(struct.Struct(order + code).unpack_from for code in ("HH", "H", "L")) for order in "<>"}
_ENOUGH = 4096


def named_instance(data: bytes | bytearray | memoryview, transfer_syntax_uid: str) -> tuple[str, str] | None:
    """(SOP Class UID, SOP Instance UID) of the data set beginning with `data`.

    None where the first bytes do not tell: one of the two is missing, out of order, or behind something unusual.
    """
    head = bytes(data[:_ENOUGH])
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        try:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, _ENOUGH)
        except zlib.error:
            return None
    implicit = transfer_syntax_uid in (ImplicitVRLittleEndian, GE_PRIVATE_IMPLICIT_BIG_ENDIAN)
    big = transfer_syntax_uid in (ExplicitVRBigEndian, GE_PRIVATE_IMPLICIT_BIG_ENDIAN)
    order = ">" if big else "<"
    tag_of, short_of, long_of = _READERS[order]
    found: dict[int, str] = {}
    offset = 0
    former = -1
    while offset + 12 <= len(head):
        group, element = tag_of(head, offset)
        tag = group << 16 | element
        if tag <= former or tag > _SOP_INSTANCE:
            return None
        former = tag
        if implicit:
            (length,) = long_of(head, offset + 4)
            offset += 8
        elif head[offset + 4 : offset + 6] in _LONG:
            (length,) = long_of(head, offset + 8)
            offset += 12
        else:
            (length,) = short_of(head, offset + 6)
            offset += 8
        if length == _UNDEFINED or offset + length > len(head):
            return None
        if tag in (_SOP_CLASS, _SOP_INSTANCE):
            found[tag] = head[offset : offset + length].decode("latin-1").strip(" \0")
            if len(found) == 2:
                return found[_SOP_CLASS], found[_SOP_INSTANCE]
        offset += length
    return None
