"""Run by alembic. The connection comes from `storage.schema`, or from `-x url=...` on alembic's command line."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

# Their tables join the metadata.
import storage.account_tables
import storage.edge_tables
import storage.model_tables
import storage.outward_tables
import storage.retention_tables
import storage.review_tables
import storage.scrub_tables
import storage.visit_tables  # noqa: F401
from storage.columns import CleanText, UtcDateTime
from storage.engines import make_engine
from storage.tables import Base


def _render(kind: str, item: Any, autogenerate: AutogenContext) -> str | Literal[False]:
    """Our column types as SQLAlchemy's own: a migration must not change when the code does."""
    if kind == "type" and isinstance(item, CleanText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=_render,
        compare_type=True,
        transactional_ddl=True,  # SQLite can, though alembic's default for it is False
    )
    with context.begin_transaction():
        context.run_migrations()


_given = context.config.attributes.get("connection")
if isinstance(_given, Connection):
    _migrate(_given)
else:
    _engine = make_engine(context.get_x_argument(as_dictionary=True)["url"], foreign_keys=False)
    with _engine.begin() as _opened:
        _migrate(_opened)
    _engine.dispose()
