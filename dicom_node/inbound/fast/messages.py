"""C-STORE messages out of P-DATA-TF PDUs, fragment by fragment (PS3.8 annex E), under the connection's limits."""

from __future__ import annotations

import time
from collections.abc import Callable

from dicom_node.inbound.fast.reception import Reception
from dicom_node.inbound.fast.source import ByteSource
from dicom_node.inbound.fast.wire import (
    COMMAND,
    LAST,
    MAX_COMMAND_BYTES,
    P_DATA_TF,
    PDU_HEADER,
    PDV_HEADER,
    StoreRequest,
    is_response,
    read_store_request,
)
from dicom_node.inbound.transport import Limits


class NotOurs(Exception):
    """Another message, or no P-DATA at all. data: what was read of it, beginning with a PDU header."""

    def __init__(self, data: bytes | bytearray, *, is_response: bool = False) -> None:
        super().__init__("a message for pynetdicom")
        self.data = data
        self.is_response = is_response


class Refused(Exception):
    """The peer broke the protocol or a limit; the message says which."""


class MessageReader:
    """Reads the messages of one association.

    Args:
        sop_class_of: the storage class of a context ID, '' where it is another service's, None where there is none.
    """

    def __init__(self, source: ByteSource, limits: Limits, sop_class_of: Callable[[int], str | None]) -> None:
        self._source = source
        self._limits = limits
        self._sop_class_of = sop_class_of
        self._left = 0  # of the PDU being read
        self._deadline = 0.0

    def begin(self) -> tuple[StoreRequest, int]:
        """The next C-STORE request and its context ID.

        Raises:
            NotOurs: it is for pynetdicom. Refused. PeerGone, TooSlow, Interrupted: as of `source`.
        """
        raw = bytearray(PDU_HEADER.pack(P_DATA_TF, self._left)) if self._left else bytearray()
        command = bytearray()
        while True:
            if not self._left:
                raw += self._next_pdu(raw, self._limits.pdu_seconds)
            length, context_id, control, header = self._fragment()
            if not control & COMMAND:
                raise Refused("a data set without a command")
            fragment = self._source.take(length, self._deadline)
            raw += header + fragment
            command += fragment
            if control & LAST:
                break
            if len(command) > MAX_COMMAND_BYTES:
                raise Refused(f"a command of over {MAX_COMMAND_BYTES} bytes")
        request = read_store_request(bytes(command))
        if request is None or not self._sop_class_of(context_id):
            self._left = 0  # the rest of this PDU is read by pynetdicom
            raise NotOurs(raw, is_response=is_response(bytes(command)))
        return request, context_id

    def data_set(self, context_id: int, reception: Reception) -> None:
        """Read the data set that follows a request into `reception`. Raises as `begin`."""
        while True:
            if not self._left:
                self._next_pdu(b"", self._limits.idle_seconds)
            length, its_context_id, control, _ = self._fragment()
            if its_context_id != context_id or control & COMMAND:
                raise Refused("a message inside another one")
            if reception.size + length > self._limits.object_bytes:
                raise Refused(f"an object of over {self._limits.object_bytes} bytes")
            while length:
                space = reception.space(length)
                self._source.fill(space, self._deadline)
                reception.filled(len(space))
                length -= len(space)
            if control & LAST:
                return

    def _next_pdu(self, before: bytes | bytearray, wait_s: float) -> bytes:
        header = self._source.take(PDU_HEADER.size, time.monotonic() + wait_s)
        self._deadline = time.monotonic() + self._limits.pdu_seconds
        kind, length = PDU_HEADER.unpack(header)
        if kind != P_DATA_TF:
            raise NotOurs(bytes(before) + header)
        if length > self._limits.data_pdu_bytes:
            raise Refused(f"a PDU of {length} bytes where {self._limits.data_pdu_bytes} is the limit")
        self._left = length
        return header

    def _fragment(self) -> tuple[int, int, int, bytes]:
        """(bytes of the fragment, context ID, control header, the six bytes that said so)."""
        if self._left < PDV_HEADER.size:
            raise Refused("a PDU too short for a fragment")
        header = self._source.take(PDV_HEADER.size, self._deadline)
        length, context_id, control = PDV_HEADER.unpack(header)
        # An odd length breaks PS3.8 9.3.1, yet a deflated data set without its padding byte comes in one, whole.
        if length < 2 or length + 4 > self._left:
            raise Refused(f"a fragment of {length} bytes in {self._left} bytes of a PDU")
        if self._sop_class_of(context_id) is None:
            raise Refused(f"presentation context {context_id} was not negotiated")
        self._left -= length + 4
        return length - 2, context_id, control, header
