"""A TCP relay between the node and its PACS that tells when so many bytes have passed from the node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


class CuttingProxy:
    """Listens on `port`, relays to loopback `target_port`. `arm(n, action)`: call `action` once n bytes have passed."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._armed: tuple[int, Callable[[], None]] | None = None
        self._passed = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, after_bytes: int, action: Callable[[], None]) -> None:
        with self._lock:
            self._passed, self._armed = 0, (after_bytes, action)

    @property
    def fired(self) -> bool:
        with self._lock:
            return self._armed is None

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                pacs = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                return
            for source, sink, counted in ((client, pacs, True), (pacs, client, False)):
                threading.Thread(target=self._relay, args=(source, sink, counted), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(4096):
                sink.sendall(data)
                if counted:
                    self._count(len(data))
        except OSError:
            pass  # one side died: that is what this proxy is for
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def _count(self, size: int) -> None:
        action = None
        with self._lock:
            self._passed += size
            if self._armed is not None and self._passed >= self._armed[0]:
                action, self._armed = self._armed[1], None
        if action is not None:
            action()
