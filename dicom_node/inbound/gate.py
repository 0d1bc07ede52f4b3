"""What a connection has to show before it costs a thread: a TLS handshake where asked for, and one A-ASSOCIATE-RQ.

One thread waits for all of them. A connection that says nothing, or something else, holds a descriptor until its time
is over and nothing more.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dicom_node.inbound.peers import Refusal, RefusalReason
from dicom_node.inbound.wire_limits import ABORT_PDU, MAX_CONTROL_PDU_BYTES, PDU_HEADER_BYTES

_log = logging.getLogger(__name__)

_A_ASSOCIATE_RQ = 0x01
_TLS_HANDSHAKE = 0x16
#: Called and calling AE title in an A-ASSOCIATE-RQ (PS3.8 table 9-11).
_CALLED, _CALLING = slice(10, 26), slice(26, 42)
_LEAST_REQUEST_BYTES = 74
_TICK_S = 0.1
#: How long a refused peer has to read the refusal.
_FAREWELL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A connection with its request. request: the bytes of the A-ASSOCIATE-RQ. Titles without padding."""

    connection: socket.socket
    address: tuple[str, int]
    request: bytes
    called_ae: str
    calling_ae: str


#: Told of every refusal with calling AE title, called AE title and address, where known.
RefusalNote = Callable[[Refusal, str, str, str], None]


@dataclass(kw_only=True)
class _Waiting:
    connection: socket.socket
    address: tuple[str, int]
    deadline: float
    stage: Literal["handshake", "request", "farewell"]
    data: bytearray = field(default_factory=bytearray)


class Gate:
    """Keeps connections until they are associations or over.

    Args:
        context: TLS, or None for plain DICOM.
        wait_s: how long a connection has for handshake and request (the ARTIM timer).
        most_waiting: beyond as many the one that has waited longest is closed.
        judge: why an opening is refused, None where it may pass.
        admit: takes an opening that may pass.
        note: told of refusals.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None,
        wait_s: float,
        most_waiting: int,
        judge: Callable[[Opening], Refusal | None],
        admit: Callable[[Opening], None],
        note: RefusalNote,
    ) -> None:
        self._context = context
        self._wait_s = wait_s
        self._most_waiting = most_waiting
        self._judge = judge
        self._admit = admit
        self._note = note
        self._selector = selectors.DefaultSelector()
        self._arrived: list[tuple[socket.socket, tuple[str, int]]] = []
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dicom-gate", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Take an accepted connection."""
        self._arrived.append((connection, address))
        self._wake_in.send(b"\0")

    def stop(self) -> None:
        """Close every connection that has not passed."""
        self._stopping.set()
        self._wake_in.send(b"\0")
        self._thread.join()
        # Not by the thread: it may end by its own tick before the line above has woken it.
        self._wake_in.close()
        self._wake_out.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(_TICK_S):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_out.recv(1 << 12)
                else:
                    self._advance(key.data)
            while self._arrived:
                self._begin(*self._arrived.pop(0))
            self._expire()
        for waiting in self._all():
            self._close(waiting)
        for connection, _ in self._arrived:
            connection.close()
        self._selector.close()

    def _all(self) -> list[_Waiting]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _begin(self, connection: socket.socket, address: tuple[str, int]) -> None:
        connection.setblocking(False)
        waiting = _Waiting(
            connection=connection, address=address, deadline=time.monotonic() + self._wait_s, stage="request"
        )
        if self._context is not None:
            try:
                waiting.connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            except OSError:
                connection.close()
                return
            waiting.stage = "handshake"
        self._selector.register(waiting.connection, selectors.EVENT_READ, waiting)
        if len(self._selector.get_map()) - 1 > self._most_waiting:
            self._close(min(self._all(), key=lambda other: other.deadline))

    def _advance(self, waiting: _Waiting) -> None:
        try:
            if waiting.stage == "handshake":
                self._shake_hands(waiting)
            while waiting.stage == "request" and self._read(waiting):
                pass
            if waiting.stage == "farewell" and not waiting.connection.recv(1 << 12):
                self._close(waiting)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._selector.modify(waiting.connection, selectors.EVENT_READ, waiting)
        except ssl.SSLWantWriteError:
            self._selector.modify(waiting.connection, selectors.EVENT_WRITE, waiting)
        except ssl.SSLError as error:
            self._refuse_unheard(waiting, RefusalReason.TLS, f"TLS with {waiting.address[0]} failed: {_said(error)}")
        except (OSError, ValueError):
            self._close(waiting)
        except Exception:  # whatever one connection brings about, the gate goes on for all others
            _log.exception("a connection of %s was closed at the gate", waiting.address[0])
            self._close(waiting)

    def _shake_hands(self, waiting: _Waiting) -> None:
        assert isinstance(waiting.connection, ssl.SSLSocket)
        waiting.connection.do_handshake()
        waiting.stage = "request"

    def _read(self, waiting: _Waiting) -> bool:
        """Read on; False where the connection is done with here."""
        data = waiting.data
        wanted = PDU_HEADER_BYTES
        if len(data) >= PDU_HEADER_BYTES:
            wanted += int.from_bytes(data[2:PDU_HEADER_BYTES], "big")
        # Never more than the request: what follows is the association's.
        chunk = waiting.connection.recv(wanted - len(data))
        if not chunk:
            self._close(waiting)
            return False
        data += chunk
        if data[0] != _A_ASSOCIATE_RQ:
            hint = "TLS on a port without TLS" if data[0] == _TLS_HANDSHAKE else "no DICOM association request"
            self._refuse_unheard(waiting, RefusalReason.NOT_DICOM, f"{waiting.address[0]} sent {hint}")
            return False
        if len(data) < PDU_HEADER_BYTES:
            return True
        length = int.from_bytes(data[2:PDU_HEADER_BYTES], "big")
        if not _LEAST_REQUEST_BYTES - PDU_HEADER_BYTES <= length <= MAX_CONTROL_PDU_BYTES:
            with contextlib.suppress(OSError):
                waiting.connection.send(ABORT_PDU)
            text = f"{waiting.address[0]} sent an association request that claims {length} bytes"
            self._refuse_unheard(waiting, RefusalReason.NOT_DICOM, text)
            return False
        if len(data) == PDU_HEADER_BYTES + length:
            self._decide(waiting)
            return False
        return True

    def _decide(self, waiting: _Waiting) -> None:
        request = bytes(waiting.data)
        opening = Opening(
            connection=waiting.connection,
            address=waiting.address,
            request=request,
            called_ae=request[_CALLED].decode("latin-1").strip(" \0"),
            calling_ae=request[_CALLING].decode("latin-1").strip(" \0"),
        )
        refusal = self._judge(opening)
        if refusal is None:
            self._selector.unregister(waiting.connection)
            self._admit(opening)
            return
        self._note(refusal, opening.calling_ae, opening.called_ae, opening.address[0])
        waiting.connection.send(bytes((0x03, 0, 0, 0, 0, 4, 0, *refusal.rejection)))
        # Closing at once could take the refusal away before the peer has read it.
        waiting.stage, waiting.deadline = "farewell", time.monotonic() + _FAREWELL_S

    def _refuse_unheard(self, waiting: _Waiting, reason: RefusalReason, text: str) -> None:
        self._note(Refusal(reason=reason, text=text, rejection=(2, 2, 1)), "", "", waiting.address[0])
        self._close(waiting)

    def _expire(self) -> None:
        now = time.monotonic()
        for waiting in self._all():
            if now > waiting.deadline:
                if waiting.stage != "farewell":
                    text = f"{waiting.address[0]} asked for no association within {self._wait_s:g} s"
                    self._refuse_unheard(waiting, RefusalReason.TOO_SLOW, text)
                else:
                    self._close(waiting)

    def _close(self, waiting: _Waiting) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(waiting.connection)
        with contextlib.suppress(OSError):
            waiting.connection.close()


def _said(error: ssl.SSLError) -> str:
    return (error.reason or type(error).__name__).replace("_", " ").lower()
