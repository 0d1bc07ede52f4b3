"""Deliveries that are held by the lint, or replaced by a fall-back"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BEFORE = "state IN ('owed', 'sent', 'failed')"
_STATES = "state IN ('owed', 'sent', 'failed', 'held', 'replaced')"


def upgrade() -> None:
    _states(_STATES)


def downgrade() -> None:
    op.execute(sa.text("UPDATE deliveries SET state = 'failed' WHERE state IN ('held', 'replaced')"))
    _states(_BEFORE)


def _states(allowed: str) -> None:
    """Change the words a state may be. SQLite rebuilds the table, and its check constraints are not carried over."""
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        if op.get_bind().dialect.name != "sqlite":
            batch_op.drop_constraint(op.f("ck_deliveries_state"), type_="check")
        batch_op.create_check_constraint(op.f("ck_deliveries_state"), sa.text(allowed))
