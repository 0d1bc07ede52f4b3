"""Changes of scans as they happen: one reader of the database feeds every open stream of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from starlette.concurrency import run_in_threadpool

from storage.errors import StorageError
from storage.scan_rows import ScanRow

#: A transaction may commit later than another that began after it; looking back this far finds it.
OVERLAP = timedelta(seconds=5)
_QUEUED = 500


class TooManyStreams(Exception):
    """As many streams are open as this process allows."""


class ChangeFeed:
    """Tells listeners which scans changed.

    read: (at, scan id) to the scans changed after that, the longest ago first. most: streams open at once.
    """

    def __init__(
        self,
        read: Callable[[datetime, str], Sequence[ScanRow]],
        clock: Callable[[], datetime],
        *,
        every_s: float = 1.0,
        most: int = 200,
    ) -> None:
        self._read = read
        self._clock = clock
        self._every_s = every_s
        self._most = most
        self._queues: set[asyncio.Queue[ScanRow | None]] = set()
        self._reader: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[ScanRow | None]]:
        """A queue of changed scans from now on; None in it means that it overflowed and the listener should end.

        Raises:
            TooManyStreams.
        """
        if len(self._queues) >= self._most:
            raise TooManyStreams
        queue: asyncio.Queue[ScanRow | None] = asyncio.Queue(_QUEUED + 1)
        self._queues.add(queue)
        try:
            self._start()
            yield queue
        finally:
            self._queues.discard(queue)
            if not self._queues and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._reader is None or self._reader.done() or self._reader.get_loop() is not loop:
            self._reader = loop.create_task(self._poll(self._clock()))

    async def _poll(self, start: datetime) -> None:
        seen: dict[str, datetime] = {}
        newest = start
        while True:
            try:
                rows = await run_in_threadpool(self._since, newest - OVERLAP)
            except StorageError:
                rows = []  # the database is away: streams stay open and go on when it is back
            for row in rows:
                if row.updated_at >= start and seen.get(row.id) != row.updated_at:
                    seen[row.id] = row.updated_at
                    self._tell(row)
                newest = max(newest, row.updated_at)
            seen = {scan_id: at for scan_id, at in seen.items() if at >= newest - OVERLAP}
            await asyncio.sleep(self._every_s)

    def _since(self, at: datetime) -> list[ScanRow]:
        rows: list[ScanRow] = []
        place = (at, "")
        while block := self._read(*place):
            rows.extend(block)
            place = (block[-1].updated_at, block[-1].id)
        return rows

    def _tell(self, row: ScanRow) -> None:
        for queue in self._queues:
            if queue.qsize() < _QUEUED:
                queue.put_nowait(row)
            elif not queue.full():
                queue.put_nowait(None)
