"""Received images removed by policy, restored when they come again, and holds that keep them"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("restored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_removals_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    with op.batch_alter_table("removals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_removals_study_id"), ["study_id"], unique=False)
    op.create_table(
        "removed_instances",
        sa.Column("instance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("removal_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_removed_instances_instance_id_instances")
        ),
        sa.ForeignKeyConstraint(["removal_id"], ["removals.id"], name=op.f("fk_removed_instances_removal_id_removals")),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_removed_instances")),
    )
    with op.batch_alter_table("removed_instances", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_removed_instances_removal_id"), ["removal_id"], unique=False)
    op.create_table(
        "holds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(scan_id IS NULL) <> (patient_id IS NULL)", name=op.f("ck_holds_subject")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name=op.f("fk_holds_scan_id_scans")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_holds_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_holds_scan_id"), ["scan_id"], unique=False)


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_table("removed_instances")
    op.drop_table("removals")
