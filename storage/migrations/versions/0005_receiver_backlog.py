"""What a listener has answered and not filed yet"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # A row is the condition of a few seconds ago: every listener writes its own anew.
    op.execute(sa.text("DELETE FROM receivers"))
    with op.batch_alter_table("receivers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("backlog_objects", sa.Integer(), nullable=False))
        batch_op.add_column(sa.Column("filed_through", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("receivers", schema=None) as batch_op:
        batch_op.drop_column("filed_through")
        batch_op.drop_column("backlog_objects")
