"""Associations of each sender, in the listener's row"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Nullable: listeners of the release before go on writing their rows until they are restarted.
    with op.batch_alter_table("receivers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("senders", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("receivers", schema=None) as batch_op:
        batch_op.drop_column("senders")
