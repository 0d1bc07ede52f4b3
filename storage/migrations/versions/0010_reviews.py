"""Reviews of results, and deliveries that wait for one or were withdrawn by one"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BEFORE = "state IN ('owed', 'sent', 'failed', 'held', 'replaced')"
_STATES = "state IN ('owed', 'sent', 'failed', 'held', 'replaced', 'waiting', 'withdrawn')"


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("reviewer_name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("carried_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("verdict IN ('accepted', 'rejected', 'on-hold')", name=op.f("ck_reviews_verdict")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_reviews_run_id_runs")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_reviews_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    current = sa.text("replaced_at IS NULL")
    with op.batch_alter_table("reviews", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reviews_carried_out_at"), ["carried_out_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_reviews_run_id"), ["run_id"], unique=False)
        batch_op.create_index(
            "ix_reviews_current", ["run_id"], unique=True, sqlite_where=current, postgresql_where=current
        )
    _states(_STATES)


def downgrade() -> None:
    op.execute(sa.text("UPDATE deliveries SET state = 'failed' WHERE state IN ('waiting', 'withdrawn')"))
    _states(_BEFORE)
    op.drop_table("reviews")


def _states(allowed: str) -> None:
    """Change the words a state may be. SQLite rebuilds the table, and its check constraints are not carried over."""
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        if op.get_bind().dialect.name != "sqlite":
            batch_op.drop_constraint(op.f("ck_deliveries_state"), type_="check")
        batch_op.create_check_constraint(op.f("ck_deliveries_state"), sa.text(allowed))
