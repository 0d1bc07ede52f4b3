"""The listener's socket: what a peer may make the node read, and for how long. Holds before any association exists.

pynetdicom reads a PDU of whatever length its header claims, 2 GiB included, from anyone who connects; and waits for the
rest of it without end. Here a claim over the cap, a PDU that trickles, or an object over
the limit closes the connection.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

from pynetdicom.transport import AssociationSocket

from dicom_node.inbound.wire_limits import ABORT_PDU, MAX_CONTROL_PDU_BYTES, PDU_HEADER_BYTES

_READ_BYTES = 1 << 16
_P_DATA_TF = 0x04
_PDU_TYPES = range(0x01, 0x08)


class PduRefusedError(OSError):
    """A PDU that claims too much or arrives too slowly. An OSError: pynetdicom then closes the connection."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """data_pdu_bytes: largest P-DATA-TF. object_bytes: largest message. pdu_seconds: longest wait for one PDU.

    idle_seconds: longest silence inside a message.
    """

    data_pdu_bytes: int
    object_bytes: int
    pdu_seconds: float
    idle_seconds: float = 60.0


class GuardedSocket(AssociationSocket):  # type: ignore[misc]
    """An accepted connection with limits. `object_bytes` counts since the last complete message."""

    def __init__(self, assoc: Any, client_socket: socket.socket, limits: Limits) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._limits = limits
        self._pdu_type = 0
        self._handed = bytearray()
        self.object_bytes = 0
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_socket.settimeout(limits.pdu_seconds)

    def hand_in(self, data: bytes) -> None:
        """Bytes that were read of the connection already; they come first."""
        self._handed += data

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self._handed) or bool(super().ready)

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes` of the connection, or fewer where the peer closed it.

        Raises:
            PduRefusedError: over a limit, not DICOM, or the peer fell silent inside a PDU; the connection is closed.
        """
        if nr_bytes == PDU_HEADER_BYTES and self._pdu_type == 0:
            header = self._read(nr_bytes)
            self._pdu_type = header[0] if header else 0
            if len(header) == nr_bytes and self._pdu_type not in _PDU_TYPES:
                raise self._refused("what came is no DICOM PDU")
            return header
        cap = self._limits.data_pdu_bytes if self._pdu_type == _P_DATA_TF else MAX_CONTROL_PDU_BYTES
        self._pdu_type = 0
        if nr_bytes > cap:
            raise self._refused(f"a PDU of {nr_bytes} bytes where {cap} is the limit")
        self.object_bytes += nr_bytes
        if self.object_bytes > self._limits.object_bytes:
            raise self._refused(f"an object of over {self._limits.object_bytes} bytes")
        return self._read(nr_bytes)

    def _read(self, nr_bytes: int) -> bytearray:
        connection = self.socket
        if connection is None:
            raise self._refused("the connection is closed")
        received = self._handed[:nr_bytes]
        del self._handed[:nr_bytes]
        deadline = time.monotonic() + self._limits.pdu_seconds
        while len(received) < nr_bytes:
            if time.monotonic() > deadline:
                raise self._refused(f"a PDU took longer than {self._limits.pdu_seconds} s")
            try:
                chunk = connection.recv(min(_READ_BYTES, nr_bytes - len(received)))
            except OSError as error:
                raise self._refused(f"the connection failed: {type(error).__name__}") from error
            if not chunk:
                self._hang_up()
                break
            received += chunk
        return received

    def _refused(self, reason: str) -> PduRefusedError:
        with contextlib.suppress(OSError):
            self.socket.sendall(ABORT_PDU)
        self._hang_up()
        return PduRefusedError(reason)

    def _shutdown_socket(self) -> None:
        # The base class leaves the descriptor open where the peer went first: shutdown then raises before close.
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _hang_up(self) -> None:
        # The state machine takes the error for a connection its peer closed, and would leave ours open.
        self._shutdown_socket()
        self._is_connected = False
