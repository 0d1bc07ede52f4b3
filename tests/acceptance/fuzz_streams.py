"""What the fuzz campaign sends: PDUs as real senders put them on the wire, and the wounds it inflicts on them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

from pydicom import dcmread

from tests.cutting_proxy import Relay
from tests.raw_pdus import association_request, echo_command, p_data, store_command

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
    store = store_command(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))
    data = image.read_bytes()
    data = data[data.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in data else 400 :][:20000]
    data += b"\0" * (len(data) % 2)
    half = len(data) // 4 * 2
    return [
        association_request(str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)),
        p_data(1, 3, store),
        p_data(1, 0, data[:half]),
        p_data(1, 2, data[half:]),
        p_data(3, 3, echo_command()),
        struct.pack(">BBL", 5, 0, 4) + bytes(4),
    ]


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
