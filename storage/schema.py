"""The schema's version: alembic run from code on the migrations packaged beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from storage.engines import WRITES, make_engine, parse_url, translate
from storage.errors import SchemaMismatch, StorageError, StorageFault
from storage.locks import file_lock

#: How long a second process waits for the first one's upgrade.
UPGRADE_WAIT_S = 120.0

#: Key of PostgreSQL's advisory lock during an upgrade: 'btnschem' as a 64-bit number.
_ADVISORY_KEY = int.from_bytes(b"btnschem", "big")


def migration_config() -> Config:
    """Alembic's configuration for the packaged migrations; the connection is put into `attributes` by the caller."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent / "migrations").replace("%", "%%"))
    return config


def upgrade_schema(url: str) -> None:
    """See `storage.database.upgrade`. The whole upgrade is one transaction: cut off, it leaves the old schema."""
    config = migration_config()
    with _locked(url), _connection(url, writes=True) as connection:
        problem = _newer(connection, config)
        if problem:
            raise SchemaMismatch(problem)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise StorageFault("after the upgrade some rows refer to rows that are missing: the upgrade was undone")


def schema_problem(url: str) -> str | None:
    """See `storage.database.check_schema`."""
    config = migration_config()
    try:
        with _connection(url, writes=False) as connection:
            here, head = _revisions(connection, config)
            if here == head:
                return None
            return _newer(connection, config) or (
                "the database has no schema yet: run the upgrade (every `tumor-node` command does it at start)"
                if here is None
                else f"the database's schema is at {here}, this release works with {head}: run the upgrade"
            )
    except StorageError as error:
        return str(error)


def _revisions(connection: Connection, config: Config) -> tuple[str | None, str | None]:
    here = MigrationContext.configure(connection).get_current_revision()
    return here, ScriptDirectory.from_config(config).get_current_head()


def _newer(connection: Connection, config: Config) -> str | None:
    here, head = _revisions(connection, config)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if here is None or here in known:
        return None
    return f"the database's schema {here} is newer than this release, which knows {head}: install the newer release"


@contextmanager
def _connection(url: str, *, writes: bool) -> Iterator[Connection]:
    """One connection in one transaction; foreign keys are off, for SQLite rebuilds tables to alter them."""
    engine = make_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(**{WRITES: writes}).begin() as connection:
            if writes and connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
            yield connection
    except DBAPIError as error:
        raise translate(error) or error from error
    finally:
        engine.dispose()


@contextmanager
def _locked(url: str) -> Iterator[None]:
    """SQLite: a lock file beside the database, so that a second process waits longer than the busy timeout."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        yield
        return
    database = Path(str(parsed.database))
    database.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(database.with_name(database.name + ".upgrade-lock"), wait_s=UPGRADE_WAIT_S):
        yield
