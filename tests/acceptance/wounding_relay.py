"""A TCP relay between a sender and the node that breaks a sender's stream off, once, at a chosen PDU."""

from __future__ import annotations

import threading
from enum import StrEnum

from tests.cutting_proxy import Relay

_HEADER_BYTES = 6
_P_DATA_TF = 0x04
_ABORT = bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 0, 0))
_LAST_OF_DATA_SET = 0x02


class Wound(StrEnum):
    """What the node sees of the sender's end."""

    ABORT = "sender aborts"
    HALF_A_PDU = "half a PDU"
    LOST_LAST_FRAGMENT = "lost last fragment"


class WoundingRelay(Relay):
    """While armed: of the n-th P-DATA-TF from now on this becomes of it, and the connection ends there.

    ABORT comes in the place of the PDU, HALF_A_PDU is its first half; a last fragment is the next from there on.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._wound: Wound | None = None
        self._left = 0
        self._lock = threading.Lock()
        self.wounds = 0

    def arm(self, wound: Wound, after_pdus: int) -> None:
        with self._lock:
            self._wound, self._left = wound, after_pdus

    def filtered(self, held: bytearray) -> tuple[bytes, bool]:
        passing = bytearray()
        while len(held) >= _HEADER_BYTES:
            size = _HEADER_BYTES + int.from_bytes(held[2:_HEADER_BYTES], "big")
            if len(held) < size:
                break
            pdu = bytes(held[:size])
            del held[:size]
            last = self._last_words(pdu)
            if last is not None:
                return bytes(passing) + last, True
            passing += pdu
        return bytes(passing), False

    def _last_words(self, pdu: bytes) -> bytes | None:
        """What goes to the node instead of a PDU, as the last; None where the PDU passes."""
        with self._lock:
            if self._wound is None or pdu[0] != _P_DATA_TF:
                return None
            self._left -= 1
            # Behind the PDU's header: length and context ID of its first fragment, then the control header.
            is_last = pdu[11] == _LAST_OF_DATA_SET
            if self._left > 0 or (self._wound is Wound.LOST_LAST_FRAGMENT and not is_last):
                return None
            wound, self._wound = self._wound, None
            self.wounds += 1
        return {Wound.ABORT: _ABORT, Wound.HALF_A_PDU: pdu[: len(pdu) // 2], Wound.LOST_LAST_FRAGMENT: b""}[wound]
