"""A copy of the rows while processes write them, and a database made from such a copy.

Either is one consistent state: SQLite by its own online backup, PostgreSQL by `pg_dump` and `pg_restore`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from storage.durable import FILE_MODE, sync_folder
from storage.engines import make_engine, parse_url, translate
from storage.errors import Conflict, PermanentStorageError, StorageFault

#: The job engine keeps its tables in this schema where both share a database; runs are handed over anew without them.
_ENGINE_SCHEMA = "dbos"


def snapshot_name(url: str) -> str:
    """The file name of a copy of this database: it tells which kind can be restored from it."""
    return "rows.sqlite" if parse_url(url).get_backend_name() == "sqlite" else "rows.pgdump"


def snapshot_database(url: str, target: Path) -> None:
    """Copy the rows into the new file `target`, synced. Writers go on meanwhile.

    Raises:
        StorageFault: the database cannot be read, or its copy is not sound. PermanentStorageError: pg_dump is missing.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        _copy_sqlite(Path(str(parsed.database)), target)
    else:
        _postgres_tool(parsed, "pg_dump", ["--format=custom", f"--exclude-schema={_ENGINE_SCHEMA}", f"--file={target}"])
    target.chmod(FILE_MODE)
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def restore_database(snapshot: Path, url: str) -> None:
    """Make the rows of `snapshot` those of the empty database at `url`.

    Raises:
        Conflict: the database has tables already, or is of the other kind. StorageFault: the copy is not sound.
    """
    parsed = parse_url(url)
    if snapshot.name != snapshot_name(url):
        raise Conflict(
            f"{snapshot.name} cannot become a database of the kind '{parsed.get_backend_name()}': "
            "restore into the kind that was backed up",
            "database_url",
        )
    if not database_is_empty(url):
        raise Conflict("the database to restore into has tables already: name an empty one", "database_url")
    if parsed.get_backend_name() == "sqlite":
        final = Path(str(parsed.database))
        for leftover in final.parent.glob(final.name + "-*"):
            leftover.unlink()  # the journal of a database that is gone
        aside = final.with_name(final.name + ".restoring")
        aside.unlink(missing_ok=True)
        _copy_sqlite(snapshot, aside)
        aside.chmod(FILE_MODE)
        os.replace(aside, final)
        sync_folder(final.parent)
    else:
        arguments = [
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            f"--dbname={parsed.database}",
            str(snapshot),
        ]
        _postgres_tool(parsed, "pg_restore", arguments)


def database_is_empty(url: str) -> bool:
    """True where nothing is there yet that a restore would overwrite. Raises StorageUnavailable."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database))
        if not path.exists() or path.stat().st_size == 0:
            return True
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return not inspect(connection).get_table_names()
    except DBAPIError as error:
        raise translate(error) or error from error
    finally:
        engine.dispose()


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as origin,
            closing(sqlite3.connect(target)) as copy,
        ):
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, whole without others beside it
            (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StorageFault(f"copying the database {source.name}: {error}", source) from error
    if verdict != "ok":
        raise StorageFault(f"the copy of the database {source.name} is not sound: {verdict}", source)


def _postgres_tool(url: URL, tool: str, arguments: Sequence[str]) -> None:
    program = shutil.which(tool) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"), reverse=True)), None
    )
    if program is None:
        raise PermanentStorageError(f"{tool} is not installed: it comes with PostgreSQL's client programs")
    told = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
    environment = {**os.environ, **{name: str(value) for name, value in told.items() if value is not None}}
    if tool == "pg_dump":
        environment["PGDATABASE"] = str(url.database)
    done = subprocess.run([program, "--no-password", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise StorageFault(f"{tool} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
