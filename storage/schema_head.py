"""Whether a database is at this release's schema, told without alembic: most processes start on one that is."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.engines import make_engine

_VERSIONS = Path(__file__).resolve().parent / "migrations" / "versions"


def newest_revision() -> str:
    """The revision of the last migration: their files are numbered in one line."""
    return max(path.stem[:4] for path in _VERSIONS.glob("[0-9]*.py"))


def is_current(url: str) -> bool:
    """True where the database says that it is at the newest revision; False where it does not, or cannot be asked."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except DBAPIError:
        return False
    finally:
        engine.dispose()
    return found == [newest_revision()]
