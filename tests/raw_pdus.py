"""PDUs written by hand, byte for byte: what no library would send (PS3.8 section 9.3, PS3.7 section 6.3)."""

from __future__ import annotations

import struct

from pynetdicom.sop_class import Verification


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def association_request(sop_class: str, syntax: str) -> bytes:
    """A-ASSOCIATE-RQ to BTNODE with two contexts: 1 for `sop_class` in `syntax`, 3 for Verification in implicit."""
    contexts = b"".join(
        _item(0x20, bytes((number, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode()))
        for number, abstract, transfer in ((1, sop_class, syntax), (3, str(Verification), "1.2.840.10008.1.2"))
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"BTNODE".ljust(16), b"FUZZ".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def p_data(context_id: int, control: int, data: bytes) -> bytes:
    """A P-DATA-TF with one PDV. control: 1 command, 2 last, 3 both, 0 data that goes on."""
    return struct.pack(">BBLLBB", 4, 0, len(data) + 6, len(data) + 2, context_id, control) + data


def command(*elements: tuple[int, bytes]) -> bytes:
    """A command set of these elements (0000,number), in the order given, with its group length."""
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def store_command(sop_class: str, instance: str) -> bytes:
    return command(
        (0x0002, uid(sop_class)), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0"), (0x0800, b"\0\0"),
        (0x1000, uid(instance)),
    )  # fmt: skip


def echo_command() -> bytes:
    return command((0x0002, uid(str(Verification))), (0x0100, b"\x30\0"), (0x0110, b"\2\0"), (0x0800, b"\1\1"))
