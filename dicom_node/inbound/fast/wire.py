"""The bytes of C-STORE on the wire (PS3.7 section 9.3.1, PS3.8 section 9.3.5): the request read, the answer written.

Only a request without any oddity is read here; every other command goes to pynetdicom as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from dicom_node.inbound.answers import SUCCESS, Answer

P_DATA_TF = 0x04
PDU_HEADER = struct.Struct(">BxL")
#: Length of the fragment and its two first bytes, the context ID and the control header.
PDV_HEADER = struct.Struct(">LBB")
COMMAND, LAST = 0x01, 0x02

#: A command set is some 200 bytes.
MAX_COMMAND_BYTES = 1 << 14

_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
_NO_DATA_SET = 0x0101
_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")
_GROUP_LENGTH, _SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID = 0x0000, 0x0002, 0x0100, 0x0110
_PRIORITY, _DATA_SET_TYPE, _SOP_INSTANCE = 0x0700, 0x0800, 0x1000
_RESPONDED_TO, _STATUS, _ERROR_COMMENT = 0x0120, 0x0900, 0x0902
_MOVE_ORIGINATOR = frozenset({0x1030, 0x1031})
_NEEDED = frozenset({_GROUP_LENGTH, _SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _PRIORITY, _DATA_SET_TYPE, _SOP_INSTANCE})


@dataclass(frozen=True, kw_only=True)
class StoreRequest:
    """A C-STORE-RQ. UIDs without padding, otherwise as sent."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str


def read_store_request(command: bytes) -> StoreRequest | None:
    """The request in a command set; None where it is another command, or not exactly what the standard says."""
    elements = _elements(command)
    if elements is None or elements.keys() - _MOVE_ORIGINATOR != _NEEDED:
        return None
    if elements[_COMMAND_FIELD] != _US.pack(_C_STORE_RQ) or elements[_DATA_SET_TYPE] == _US.pack(_NO_DATA_SET):
        return None
    if elements[_GROUP_LENGTH] != struct.pack("<L", len(command) - 12):
        return None
    if any(len(elements[number]) != 2 for number in (_MESSAGE_ID, _PRIORITY, _DATA_SET_TYPE)):
        return None
    try:
        sop_class_uid, sop_instance_uid = (
            elements[number].rstrip(b"\0 ").decode("ascii") for number in (_SOP_CLASS, _SOP_INSTANCE)
        )
    except UnicodeDecodeError:
        return None
    if not sop_class_uid or not sop_instance_uid or max(len(sop_class_uid), len(sop_instance_uid)) > 64:
        return None
    (message_id,) = _US.unpack(elements[_MESSAGE_ID])
    return StoreRequest(message_id=message_id, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)


def is_response(command: bytes) -> bool:
    """True where a command set answers a request of ours."""
    elements = _elements(command)
    field = elements.get(_COMMAND_FIELD, b"") if elements else b""
    return len(field) == 2 and bool(field[1] & 0x80)


def _elements(command: bytes) -> dict[int, bytes] | None:
    """The elements of a command set by number; None where it is malformed or has one twice."""
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(command):
        if offset + _ELEMENT.size > len(command):
            return None
        group, number, length = _ELEMENT.unpack_from(command, offset)
        offset += _ELEMENT.size
        if group != 0 or number in elements or offset + length > len(command):
            return None
        elements[number] = command[offset : offset + length]
        offset += length
    return elements


def store_response(request: StoreRequest, answer: Answer, context_id: int, max_pdu_bytes: int) -> bytes:
    """The PDUs of the C-STORE-RSP. max_pdu_bytes: the largest the sender takes, 0 for any."""
    if answer.status == SUCCESS:
        body = b"".join(
            (
                _class_and_field(request.sop_class_uid),
                _RESPONDED_HEAD,
                _US.pack(request.message_id),
                _SUCCESS,
                _element(_SOP_INSTANCE, _uid(request.sop_instance_uid)),
            )
        )
        return _message(body, context_id, max_pdu_bytes)
    elements = [
        (_SOP_CLASS, _uid(request.sop_class_uid)),
        (_COMMAND_FIELD, _US.pack(_C_STORE_RSP)),
        (_RESPONDED_TO, _US.pack(request.message_id)),
        (_DATA_SET_TYPE, _US.pack(_NO_DATA_SET)),
        (_STATUS, _US.pack(answer.status)),
    ]
    if answer.comment:
        comment = answer.comment.encode("ascii", "replace")
        elements.append((_ERROR_COMMENT, comment + b" " * (len(comment) % 2)))
    elements.append((_SOP_INSTANCE, _uid(request.sop_instance_uid)))
    return _message(b"".join(_element(number, value) for number, value in elements), context_id, max_pdu_bytes)


def _message(body: bytes, context_id: int, max_pdu_bytes: int) -> bytes:
    command = _GROUP_LENGTH_ELEMENT.pack(0, _GROUP_LENGTH, 4, len(body)) + body
    return b"".join(_pdus(command, context_id, max_pdu_bytes))


def _pdus(command: bytes, context_id: int, max_pdu_bytes: int) -> Iterator[bytes]:
    room = max(max_pdu_bytes - PDV_HEADER.size, 16) & ~1 if max_pdu_bytes else len(command)
    for start in range(0, len(command), room):
        part = command[start : start + room]
        control = COMMAND | (LAST if start + room >= len(command) else 0)
        yield PDU_HEADER.pack(P_DATA_TF, len(part) + PDV_HEADER.size)
        yield PDV_HEADER.pack(len(part) + 2, context_id, control) + part


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


@lru_cache(maxsize=256)
def _class_and_field(sop_class_uid: str) -> bytes:
    """The first two elements behind the group length: the same in every answer about a class."""
    return _element(_SOP_CLASS, _uid(sop_class_uid)) + _element(_COMMAND_FIELD, _US.pack(_C_STORE_RSP))


_GROUP_LENGTH_ELEMENT = struct.Struct("<HHLL")
_RESPONDED_HEAD = _ELEMENT.pack(0, _RESPONDED_TO, 2)
_SUCCESS = _element(_DATA_SET_TYPE, _US.pack(_NO_DATA_SET)) + _element(_STATUS, _US.pack(SUCCESS))


def _uid(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b"\0" * (len(value) % 2)
