"""A connection read ahead: exact counts of bytes, each with a deadline, large ones read straight in place."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable

_STAGE_BYTES = 1 << 16
#: From this on bytes go straight to where they are wanted.
_DIRECT_BYTES = 1 << 14
#: How often a wait looks whether it is still wanted.
_TICK_S = 0.25
#: What a non-blocking connection raises where it would wait.
AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class PeerGone(Exception):
    """The peer closed the connection, or it failed."""


class TooSlow(Exception):
    """What was asked for did not come in time."""


class Interrupted(Exception):
    """This side wants to speak or end while bytes of the peer are still due."""


class ByteSource:
    """Reads a connected socket, which it makes non-blocking while `take` and `fill` run.

    Args:
        interrupted: asked while waiting; True ends the wait.
    """

    def __init__(self, connection: socket.socket, interrupted: Callable[[], bool]) -> None:
        self._connection = connection
        self._interrupted = interrupted
        self._stage = memoryview(bytearray(_STAGE_BYTES))
        self._start = self._end = 0
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    @property
    def staged(self) -> int:
        """Bytes read ahead."""
        return self._end - self._start

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, or the end of it, within `seconds`. Raises PeerGone."""
        if self.staged or (isinstance(self._connection, ssl.SSLSocket) and self._connection.pending()):
            return True
        try:
            return bool(self._poll.poll(seconds * 1000))
        except (OSError, ValueError) as error:
            raise PeerGone from error

    def take(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes. deadline: on the monotonic clock.

        Raises:
            PeerGone, TooSlow, Interrupted: what had come is staged or lost; the connection is of no more use.
        """
        end = self._start + count
        if end <= self._end:
            taken = bytes(self._stage[self._start : end])
            self._start = end
            if end == self._end:
                self._start = self._end = 0
            return taken
        if count > _STAGE_BYTES:
            data = bytearray(count)
            self.fill(memoryview(data), deadline)
            return bytes(data)
        if end > _STAGE_BYTES:
            left = self.staged
            self._stage[:left] = bytes(self._stage[self._start : self._end])
            self._start, self._end = 0, left
        while self.staged < count:
            self._end += self._receive(self._stage[self._end :], deadline)
        return self.take(count, deadline)

    def fill(self, target: memoryview, deadline: float) -> None:
        """Fill `target` to its end. Raises as `take`."""
        done = min(self.staged, len(target))
        target[:done] = self._stage[self._start : self._start + done]
        self._start += done
        if self._start == self._end:
            self._start = self._end = 0
        while done < len(target):
            if len(target) - done >= _DIRECT_BYTES:
                done += self._receive(target[done:], deadline)
                continue
            self._end = self._receive(self._stage, deadline)
            part = min(self._end, len(target) - done)
            target[done : done + part] = self._stage[:part]
            done += part
            self._start = part
            if self._start == self._end:
                self._start = self._end = 0

    def _receive(self, space: memoryview, deadline: float) -> int:
        while True:
            # A sender that holds small segments back (Nagle) waits for an acknowledgement, which the kernel would
            # delay by 40 ms; it forgets the wish with every read.
            with contextlib.suppress(OSError):
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            try:
                count = self._connection.recv_into(space)
            except AGAIN:
                self._await_more(deadline)
                continue
            except (OSError, ValueError) as error:
                raise PeerGone from error
            if not count:
                raise PeerGone
            return count

    def _await_more(self, deadline: float) -> None:
        while True:
            if self._interrupted():
                raise Interrupted
            left = deadline - time.monotonic()
            if left <= 0:
                raise TooSlow
            if self.wait(min(left, _TICK_S)):
                return
