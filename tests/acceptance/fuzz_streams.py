"""What the fuzz campaign sends: PDUs as real senders put them on the wire, and the wounds it inflicts on them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

from pydicom import dcmread
from pynetdicom.sop_class import Verification

from tests.cutting_proxy import Relay

Stream = list[bytes]
#: PDU lengths as senders negotiate them: small ones cut an image into many PDUs.
_MAX_PDU = "16384"


class _Recorder(Relay):
    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.seen = b""

    def from_client(self, data: bytes) -> None:
        self.seen += data


def captured_streams(port: int, image: Path) -> list[Stream]:
    """Each a list of PDUs: of every DCMTK client that is installed, sent to the listener at `port`, and a plain one.

    A client's stream ends with its A-RELEASE-RQ, so that a later PDU can follow the mutated one.
    """
    streams = [plain_session(image)]
    address = ["-aec", "BTNODE", "-pdu", _MAX_PDU, "127.0.0.1"]
    clients = (
        ("echoscu", []),
        ("storescu", [str(image)]),
        ("dcmsend", [str(image)]),
        ("findscu", ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]),
    )
    for name, arguments in clients:
        program = shutil.which(name, path="/usr/bin")
        if program is None:
            continue
        with _Recorder(port) as relay:
            subprocess.run(
                [program, *address, str(relay.port), *arguments], check=False, capture_output=True, timeout=60
            )
        if pdus := split(relay.seen):
            streams.append(pdus)
    return streams


def split(data: bytes) -> Stream:
    """A stream of bytes cut into its PDUs; what is left over is dropped."""
    pdus = []
    while len(data) >= 6:
        end = 6 + int.from_bytes(data[2:6], "big")
        if end > len(data):
            break
        pdus.append(data[:end])
        data = data[end:]
    return pdus


def plain_session(image: Path) -> Stream:
    """An association that stores a part of an image in two pieces and asks for an echo, as short as can be."""
    dataset = dcmread(image)
    command = _store_command(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))
    data = image.read_bytes()
    data = data[data.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in data else 400 :][:20000]
    data += b"\0" * (len(data) % 2)
    half = len(data) // 4 * 2
    return [
        _association_request(str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)),
        _p_data(1, 3, command),
        _p_data(1, 0, data[:half]),
        _p_data(1, 2, data[half:]),
        _p_data(3, 3, _echo_command()),
        struct.pack(">BBL", 5, 0, 4) + bytes(4),
    ]


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _association_request(sop_class: str, syntax: str) -> bytes:
    contexts = b"".join(
        _item(0x20, bytes((number, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode()))
        for number, abstract, transfer in ((1, sop_class, syntax), (3, str(Verification), "1.2.840.10008.1.2"))
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"BTNODE".ljust(16), b"FUZZ".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def _p_data(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">BBLLBB", 4, 0, len(data) + 6, len(data) + 2, context_id, control) + data


def _command(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def _store_command(sop_class: str, instance: str) -> bytes:
    return _command(
        (0x0002, _uid(sop_class)), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0"), (0x0800, b"\0\0"),
        (0x1000, _uid(instance)),
    )  # fmt: skip


def _echo_command() -> bytes:
    return _command((0x0002, _uid(str(Verification))), (0x0100, b"\x30\0"), (0x0110, b"\2\0"), (0x0800, b"\1\1"))


_LENGTHS = (0, 1, 2, 5, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with one to four wounds: flipped bits, lengths that lie, pieces cut, doubled, or exchanged for noise."""
    wounded = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not wounded:
            break
        # Headers are where mistakes matter: half the wounds are among the first bytes.
        at = chance.randrange(len(wounded) if chance.random() < 0.5 else min(len(wounded), 400))
        match chance.randrange(6):
            case 0:
                wounded[at] ^= 1 << chance.randrange(8)
            case 1:
                wounded[at : at + 4] = struct.pack(chance.choice("<>") + "L", chance.choice(_LENGTHS))
            case 2:
                del wounded[at : at + chance.randint(1, 64)]
            case 3:
                wounded[at:at] = wounded[at : at + chance.randint(1, 64)]
            case 4:
                wounded[at : at + 8] = chance.randbytes(8)
            case 5:
                del wounded[at:]
    return bytes(wounded)
