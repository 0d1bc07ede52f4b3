"""TCP relays between the node and its PACS that do harm at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Relay:
    """Relays a free loopback `port` to (host, port). Subclasses look at what passes.

    `from_client(data)` is called when data went to the peer; `from_peer(spoken)` before the peer's answer number
    `spoken` of a connection goes to the client: False cuts that connection instead.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

    def from_client(self, data: bytes) -> None:
        """Data of a client reached the peer."""

    def filtered(self, held: bytearray) -> tuple[bytes, bool]:
        """Take from what a client sent so far what may go to the peer; and whether the connection ends after it."""
        data = bytes(held)
        held.clear()
        return data, False

    def from_peer(self, spoken: int) -> bool:
        """Whether the peer's answer may pass."""
        return True

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    peer = socket.create_connection(self.target)
                except OSError:  # the peer is down
                    client.close()
                    continue
                threads = [
                    threading.Thread(target=self._to_peer, args=(client, peer)),
                    threading.Thread(target=self._to_client, args=(client, peer)),
                ]
                self._threads += threads
                for thread in threads:
                    thread.start()

    def _to_peer(self, client: socket.socket, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            held = bytearray()
            while data := client.recv(4096):
                held += data
                data, ends = self.filtered(held)
                peer.sendall(data)
                self.from_client(data)
                if ends:
                    # Either end's other direction sees it too.
                    client.shutdown(socket.SHUT_RDWR)
                    break
            peer.shutdown(socket.SHUT_WR)

    def _to_client(self, client: socket.socket, peer: socket.socket) -> None:
        spoken = 0
        with contextlib.suppress(OSError):
            while data := peer.recv(65536):
                spoken += 1
                if not self.from_peer(spoken):
                    break
                client.sendall(data)
        for end in (client, peer):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class CuttingProxy(Relay):
    """Loses the peer's answer: while `cutting`, each connection is cut when the peer speaks for the second time.

    The first time it accepts the association; the second time it would say that the object is stored.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.cutting = True
        self.cuts = 0

    def from_peer(self, spoken: int) -> bool:
        if self.cutting and spoken == 2:
            self.cuts += 1
            return False
        return True


class CountingProxy(Relay):
    """Acts in the middle of an object: `arm(n, action)` calls `action` once n more bytes went to the peer."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._left = 0
        self._action: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def arm(self, after_bytes: int, action: Callable[[], None]) -> None:
        with self._lock:
            self._left, self._action = after_bytes, action

    def from_client(self, data: bytes) -> None:
        with self._lock:
            self._left -= len(data)
            action = self._action if self._left <= 0 else None
            if action is not None:
                self._action = None
        if action is not None:
            action()
