"""What may be told of a store to somebody outside: how many rows, and where it is without the password."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from storage.database import Database
from storage.tables import Base


def rows_by_table(database: Database) -> dict[str, int]:
    """The number of rows of every table."""
    with database.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def without_password(url: str) -> str:
    """A URL with its password hidden; '' where it is none."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return ""
