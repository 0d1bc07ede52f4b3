"""One database: transactions that read, transactions that write, and the schema's version."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from storage.engines import BUSY_TIMEOUT_S, WRITES, is_race, make_engine, translate
from storage.errors import Conflict, StorageBusy

T = TypeVar("T")

#: How often a write is done anew when another process came first.
RACE_ATTEMPTS = 8


class Database:
    """The rows of a node. Threads may share one; a process makes its own (never pass one across a fork).

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`.

    Raises:
        PermanentStorageError: the URL names something else.
    """

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self._writing_engine = self.engine.execution_options(**{WRITES: True})
        # SQLite's readers see one snapshot by nature; PostgreSQL's only where they ask for it.
        postgres = self.engine.dialect.name == "postgresql"
        self._reading_engine = (
            self.engine.execution_options(isolation_level="REPEATABLE READ") if postgres else self.engine
        )
        # SQLite lets waiting writers sleep and poll. Inside one process a lock hands over at once.
        self._turn = threading.Lock() if self.engine.dialect.name == "sqlite" else None
        self._closing: list[Callable[[], None]] = []

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; nothing it changes is kept."""
        with _translated(), Session(self._reading_engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end and rolls back on any exception. Not to be nested.

        Raises:
            StorageBusy, StorageFull, StorageFault, StorageUnavailable: nothing was committed.
            IntegrityError: a constraint; `run` turns a lost race into another try.
        """
        if self._turn is not None and not self._turn.acquire(timeout=BUSY_TIMEOUT_S):
            raise StorageBusy(f"another thread held the database for over {BUSY_TIMEOUT_S} s")
        try:
            with _translated(), Session(self._writing_engine, expire_on_commit=False) as session, session.begin():
                yield session
        finally:
            if self._turn is not None:
                self._turn.release()

    def run(self, work: Callable[[Session], T]) -> T:
        """`work(session)` in one write transaction; done anew where another process inserted the same rows first.

        Raises:
            Conflict: a constraint that trying again does not cure.
        """
        for attempt in range(RACE_ATTEMPTS):
            try:
                with self.write() as session:
                    return work(session)
            except DBAPIError as error:
                if is_race(error) and attempt + 1 < RACE_ATTEMPTS:
                    time.sleep(0.005 * 2**attempt)
                    continue
                if isinstance(error, IntegrityError):
                    raise Conflict("the database refused the row: it contradicts one that is there", "row") from error
                raise
        raise AssertionError("unreachable")

    def on_close(self, close: Callable[[], None]) -> None:
        """Have `close` called with this database: somebody keeps connections of their own."""
        self._closing.append(close)

    def close(self) -> None:
        """Give back every connection. The database may be used again; it then connects anew."""
        for close in self._closing:
            close()
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        ours = translate(error)
        if ours is None or (isinstance(error, DBAPIError) and is_race(error)):
            raise
        raise ours from error


def upgrade(url: str) -> None:
    """Bring the schema to this code's version. May be called at every start, by several processes at once.

    Raises:
        SchemaMismatch: the database was made by a newer release.
    """
    from storage.schema_head import is_current

    if not is_current(url):
        from storage.schema import upgrade_schema  # alembic is only loaded where a schema has to be looked at

        upgrade_schema(url)


def check_schema(url: str) -> str | None:
    """None where the schema is the one this code works with, else what is wrong and what to do."""
    from storage.schema import schema_problem

    return schema_problem(url)
