"""Sign-ins with rotating tokens, the chain of the audit trail, deleted scans, the finding in one line"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("refresh_sha256", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
    )
    op.create_index(op.f("ix_sign_ins_user_id"), "sign_ins", ["user_id"])
    op.create_index(op.f("ix_sign_ins_expires_at"), "sign_ins", ["expires_at"])
    op.create_table(
        "uploads_known",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_uploads_known_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_uploads_known")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_heads")),
    )
    op.add_column("events", sa.Column("sha256", sa.Text(), nullable=True))
    op.create_index(op.f("ix_events_kind_id"), "events", ["kind", "id"])
    op.add_column("scans", sa.Column("finding", sa.Text(), nullable=True))
    op.add_column("scans", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("scans", sa.Column("deleted_by", sa.Text(), nullable=True))
    op.add_column("scans", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_scans_updated_at_id"), "scans", ["updated_at", "id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_scans_updated_at_id"), table_name="scans")
    for column in ("erased_at", "deleted_by", "deleted_at", "finding"):
        op.drop_column("scans", column)
    op.drop_index(op.f("ix_events_kind_id"), table_name="events")
    op.drop_column("events", "sha256")
    op.drop_table("audit_heads")
    op.drop_table("uploads_known")
    op.drop_index(op.f("ix_sign_ins_expires_at"), table_name="sign_ins")
    op.drop_index(op.f("ix_sign_ins_user_id"), table_name="sign_ins")
    op.drop_table("sign_ins")
