"""Commands and PDUs that break the standard, one at a time, on both receive paths.

Each time: the association ends or answers a failure, nothing is on disk, and the next sender is served.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from tests.listener import Listener, listening
from tests.raw_pdus import association_request, command, p_data, store_command, uid
from tests.unit.inbound.fast_objects import data_set

MR = str(MRImageStorage)
A_ASSOCIATE_AC, P_DATA_TF, A_ABORT = 0x02, 0x04, 0x07
#: From fast_objects.data_set: '1.2.3.4.<number>'.
INSTANCE = "1.2.3.4.{}"


@pytest.fixture(scope="module", params=["pynetdicom", "fast"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with listening(tmp_path_factory.mktemp("node"), fast=request.param == "fast") as running:
        yield running


def read_pdu(connection: socket.socket) -> tuple[int, bytes] | None:
    """Type and body of the next PDU; None where the peer hung up."""
    try:
        head = _exactly(connection, 6)
        return head[0], _exactly(connection, int.from_bytes(head[2:6], "big"))
    except ConnectionError:
        return None


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionResetError
        data += part
    return data


def converse(node: Listener, *pdus: bytes) -> tuple[int, bytes] | None:
    """Associate, send `pdus`, and give what is answered: a PDU, or None where the connection was closed."""
    with socket.create_connection((node.address.host, node.address.port), timeout=20) as connection:
        connection.sendall(association_request(MR, str(ExplicitVRLittleEndian)))
        accepted = read_pdu(connection)
        assert accepted is not None
        assert accepted[0] == A_ASSOCIATE_AC
        try:
            for pdu in pdus:
                connection.sendall(pdu)
        except ConnectionError:
            return None
        return read_pdu(connection)


def status_of(body: bytes) -> int:
    """The status (0000,0900) in the command set of a P-DATA-TF's body."""
    at = body.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
    return int(struct.unpack_from("<H", body, at)[0])


def store(number: int) -> tuple[bytes, bytes]:
    """A good C-STORE in two PDUs."""
    return p_data(1, 3, store_command(MR, INSTANCE.format(number))), p_data(1, 2, data_set(number))


def stored(node: Listener) -> set[str]:
    return {path.name for area in ("studies", "conflicts") for path in (node.files.root / area).rglob("*.dcm")}


def assert_refused_and_alive(node: Listener, *pdus: bytes) -> None:
    good = converse(node, *store(1))
    assert good is not None
    assert (good[0], status_of(good[1])) == (P_DATA_TF, 0x0000)
    # The fast path answers before the file has its name.
    deadline = time.monotonic() + 20
    while not (before := stored(node)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    answer = converse(node, *pdus)
    if answer is not None and answer[0] == P_DATA_TF:
        assert status_of(answer[1]) not in (0x0000, 0xB000, 0xB006, 0xB007)
    else:
        assert answer is None or answer[0] == A_ABORT
    assert stored(node) == before
    good = converse(node, *store(1))
    assert good is not None
    assert (good[0], status_of(good[1])) == (P_DATA_TF, 0x0000)


def with_elements(*elements: tuple[int, bytes]) -> bytes:
    return p_data(1, 3, command(*elements))


CLASS = (0x0002, uid(MR))
INSTANCE_7 = (0x1000, uid(INSTANCE.format(7)))
STORE, ID, PRIORITY = (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0")
DATA, NO_DATA = (0x0800, b"\0\0"), (0x0800, b"\1\1")
OVERSIZED = 1 << 20

PDUS = {
    "longer than was negotiated": (store(7)[0], p_data(1, 2, data_set(7, pixel_bytes=OVERSIZED))),
    "a value of no length": (store(7)[0], struct.pack(">BBLLBB", 4, 0, 6, 0, 1, 2)),
    "a value of length 1": (store(7)[0], struct.pack(">BBLLBB", 4, 0, 6, 1, 1, 2)),
    "a value longer than its PDU": (store(7)[0], struct.pack(">BBLLBB", 4, 0, 6, 5000, 1, 2)),
    "an unnegotiated context": (p_data(99, 3, store_command(MR, INSTANCE.format(7))), p_data(99, 2, data_set(7))),
    "a data set without a command": (p_data(1, 2, data_set(7)),),
}

COMMANDS = {
    "without a SOP class": with_elements(STORE, ID, PRIORITY, DATA, INSTANCE_7),
    "without an instance": with_elements(CLASS, STORE, ID, PRIORITY, DATA),
    "without a message id": with_elements(CLASS, STORE, PRIORITY, DATA, INSTANCE_7),
    "without a command field": with_elements(CLASS, ID, PRIORITY, DATA, INSTANCE_7),
    "of an unknown command": with_elements(CLASS, (0x0100, b"\x77\x66"), ID, PRIORITY, DATA, INSTANCE_7),
    "that says no data set follows": with_elements(CLASS, STORE, ID, PRIORITY, NO_DATA, INSTANCE_7),
}


@pytest.mark.parametrize("pdus", PDUS.values(), ids=PDUS.keys())
def test_a_broken_pdu_ends_the_association_and_leaves_nothing(node: Listener, pdus: tuple[bytes, ...]) -> None:
    assert_refused_and_alive(node, *pdus)


@pytest.mark.parametrize("broken", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_broken_store_command_leaves_nothing(node: Listener, broken: bytes) -> None:
    assert_refused_and_alive(node, broken, p_data(1, 2, data_set(7)))
