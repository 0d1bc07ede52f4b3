"""SQLAlchemy engines for the two databases, and their errors in this package's words."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage.columns import to_json
from storage.errors import (
    PermanentStorageError,
    StorageBusy,
    StorageError,
    StorageFault,
    StorageFull,
    StorageUnavailable,
)

BUSY_TIMEOUT_S = 30

#: Execution option of a connection whose transaction will write: SQLite then takes the write lock at BEGIN.
#: A deferred transaction that reads first and writes later fails at once with SQLITE_BUSY, whatever the timeout.
WRITES = "btn_writes"


def parse_url(url: str) -> URL:
    """`sqlite:///path/to/file` or `postgresql+psycopg://user@host:port/name`.

    Raises:
        PermanentStorageError: another database, another driver, or SQLite in memory (which no second process sees).
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise PermanentStorageError("the database URL cannot be read: write sqlite:///path/to/file") from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise PermanentStorageError("SQLite needs a file: use sqlite:///path/to/file")
        return parsed
    raise PermanentStorageError(f"no support for '{parsed.drivername}': use sqlite:///path or postgresql+psycopg://")


def make_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    """An engine whose errors show no parameters (they hold patient data). `foreign_keys`: False for migrations only."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            pool_timeout=BUSY_TIMEOUT_S,
            hide_parameters=True,
            json_serializer=to_json,
            connect_args={"connect_timeout": 10, "options": "-c timezone=UTC"},
        )
    assert parsed.database is not None
    _create_private(Path(parsed.database))
    engine = create_engine(
        parsed,
        hide_parameters=True,
        json_serializer=to_json,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions itself: see _begin
        connection.create_function("lower", 1, _lower, deterministic=True)  # SQLite's own knows only ASCII
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _create_private(path: Path) -> None:
    """Make the database file readable by its owner and group only; SQLite's side files take over its mode."""
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o640)
    except OSError as error:
        raise StorageFault(f"cannot make the database file: {error.strerror}", path) from None
    os.fchmod(handle, 0o640)
    os.close(handle)


def translate(error: Exception) -> StorageError | None:
    """This package's word for a driver's error, or None where the error is the caller's mistake."""
    if isinstance(error, PoolTimeoutError):
        return StorageBusy("every database connection is in use: fewer threads, or a larger pool")
    if not isinstance(error, DBAPIError):
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _translate_sqlite(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    state = getattr(cause, "sqlstate", None) or ""
    if state.startswith("53"):
        return StorageFull("PostgreSQL is out of disk, memory or connections")
    if state == "55P03":
        return StorageBusy("another transaction holds the row")
    if state.startswith(("58", "XX")):
        return StorageFault("PostgreSQL reports an input/output or internal error: see its log")
    if error.connection_invalidated or state.startswith(("08", "57P")) or type(cause).__name__ == "OperationalError":
        return StorageUnavailable("PostgreSQL cannot be reached or closed the connection")
    return None


def _translate_sqlite(code: int) -> StorageError | None:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageBusy(f"another process held the database for over {BUSY_TIMEOUT_S} s")
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("no space left for the database")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageFault("the database file cannot be read or written: check the disk, then restore or rebuild it")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StorageFault("the database file cannot be opened for writing: check its folder's permissions")
    return None


def is_race(error: DBAPIError) -> bool:
    """True where another transaction came first and the same work, done anew, will see its rows."""
    return getattr(error.orig, "sqlstate", None) in ("23505", "23503", "40001", "40P01")
