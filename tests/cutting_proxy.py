"""A TCP relay that loses the peer's answer: the request arrives whole, the connection is cut before the reply."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Relays to (host, port). While `cutting`, each connection is cut when the peer speaks for the second time.

    The first time it accepts the association; the second time it would say that the object is stored.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.cutting = True
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

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
                peer = socket.create_connection(self.target)
                threads = [
                    threading.Thread(target=self._to_peer, args=(client, peer)),
                    threading.Thread(target=self._to_client, args=(client, peer)),
                ]
                self._threads += threads
                for thread in threads:
                    thread.start()

    def _to_peer(self, client: socket.socket, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

    def _to_client(self, client: socket.socket, peer: socket.socket) -> None:
        spoken = 0
        with contextlib.suppress(OSError):
            while data := peer.recv(65536):
                spoken += 1
                if self.cutting and spoken == 2:
                    self.cuts += 1
                    break
                client.sendall(data)
        for end in (client, peer):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
