"""The plain list's lines for an event loop: the statement of `scan_pages` without what SQLAlchemy adds to each answer.

`LineReader.read` answers None wherever it cannot be quick (no connection, a lock, a database that stopped); the
caller then asks the usual way, which waits where waiting is right and has a typed error for what is wrong.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

from sqlalchemy.sql.compiler import SQLCompiler

from storage.database import Database
from storage.scan_pages import LINE_FIELDS, Order, plain_lines

Line = tuple[Any, ...]
Place = tuple[datetime, str]
#: A reader that failed is not asked again for so long.
REST_S = 5.0
_ANSWER_WITHIN_S = 2.0
_SQLITE_BUSY_MS = 20
_POSTGRES_CONNECTIONS = 2
_CREATED, _UPDATED = LINE_FIELDS.index("created_at"), LINE_FIELDS.index("updated_at")


class LineReader(Protocol):
    """Reads lines of the list; used inside an event loop."""

    async def read(self, place: Place | None, count: int, order: Order) -> list[Line] | None:
        """At most `count` lines after `place`: `LINE_FIELDS`, modalities as JSON text. None: ask the usual way."""
        ...


def line_reader(database: Database) -> LineReader:
    """The reader for this database; closed with it."""
    reader: SqliteLines | PostgresLines
    reader = SqliteLines(database) if database.engine.dialect.name == "sqlite" else PostgresLines(database)
    database.on_close(reader.close)
    return reader


class _Rest:
    """Whether a reader may be asked, or failed a moment ago."""

    def __init__(self) -> None:
        self._until = 0.0

    def over(self) -> bool:
        return time.monotonic() >= self._until

    def begin(self) -> None:
        self._until = time.monotonic() + REST_S


class SqliteLines:
    """Reads in the event loop's own thread: an indexed page takes 0.3 ms, the way to another thread and back longer.

    A reader of a write-ahead log waits for no writer. Where it would have to after all, it gives up within 20 ms.
    """

    def __init__(self, database: Database) -> None:
        self._path = database.engine.url.database
        self._statements = _statements(database)
        self._own = threading.local()
        self._rest = _Rest()
        self._opened: list[sqlite3.Connection] = []

    async def read(self, place: Place | None, count: int, order: Order) -> list[Line] | None:
        """See `LineReader`."""
        if not self._rest.over():
            return None
        compiled = self._statements[order, place is not None]
        given = compiled.params | {"count": count}
        if place is not None:
            # As `UtcDateTime` and SQLAlchemy keep it: text, in UTC, to the microsecond.
            given |= {"at": place[0].astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"), "key": place[1]}
        try:
            found = self._connection().execute(compiled.string, [given[name] for name in compiled.positiontup or ()])
            return [_utc(line) for line in found.fetchall()]
        except (sqlite3.Error, ValueError):
            self._rest.begin()
            self._forget()
            return None

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if found is None:
            address = f"file:{quote(str(self._path))}?mode=rw"  # never makes a database that is not there
            found = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            for pragma in (f"busy_timeout={_SQLITE_BUSY_MS}", "query_only=ON"):
                found.execute(f"PRAGMA {pragma}").close()
            self._own.connection = found
            self._opened.append(found)
        return found

    def _forget(self) -> None:
        connection = self._own.__dict__.pop("connection", None)
        if connection is not None:
            self._opened.remove(connection)
            connection.close()

    def close(self) -> None:
        """Give back every connection."""
        self._own = threading.local()
        while self._opened:
            self._opened.pop().close()


def _utc(line: Line) -> Line:
    values = list(line)
    for index in (_CREATED, _UPDATED):
        values[index] = datetime.fromisoformat(values[index]).replace(tzinfo=UTC)
    return tuple(values)


class PostgresLines:
    """Reads over connections of the event loop's own, so that a slow network holds up nobody else."""

    def __init__(self, database: Database) -> None:
        self._url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._statements = _statements(database)
        self._free: list[Any] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore(_POSTGRES_CONNECTIONS)
        self._rest = _Rest()

    async def read(self, place: Place | None, count: int, order: Order) -> list[Line] | None:
        """See `LineReader`."""
        import psycopg

        if not self._rest.over():
            return None
        self._in_this_loop()
        compiled = self._statements[order, place is not None]
        given = compiled.params | {"count": count}
        if place is not None:
            given |= {"at": place[0], "key": place[1]}
        connection = None
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S), self._turns:
                connection = self._free.pop() if self._free else await self._connect()
                found = await connection.execute(compiled.string, given, binary=True)
                lines: list[Line] = await found.fetchall()
        except (psycopg.Error, OSError, TimeoutError):
            self._rest.begin()
            _finish(connection)
            return None
        except BaseException:  # the request was given up half-way: what the connection is doing is not known
            _finish(connection)
            raise
        self._free.append(connection)
        return lines

    async def _connect(self) -> Any:
        import psycopg
        from psycopg.types.json import set_json_loads

        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=2, options="-c timezone=UTC -c default_transaction_read_only=on"
        )
        set_json_loads(_as_it_is, connection)  # left as it is: it goes into the answer as JSON
        return connection

    def _in_this_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self.close()
            self._loop, self._turns = loop, asyncio.Semaphore(_POSTGRES_CONNECTIONS)

    def close(self) -> None:
        """Give back every connection."""
        while self._free:
            _finish(self._free.pop())


def _as_it_is(json: str | bytes) -> str | bytes:
    return json


def _finish(connection: Any) -> None:
    if connection is not None:
        connection.pgconn.finish()


def _statements(database: Database) -> dict[tuple[Order, bool], SQLCompiler]:
    orders: Sequence[Literal["newest", "oldest"]] = ("newest", "oldest")
    dialect = database.engine.dialect
    return {(order, placed): plain_lines(dialect, order, placed=placed) for order in orders for placed in (False, True)}
