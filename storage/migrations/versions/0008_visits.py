"""What each run says of a patient's visit, and the earlier runs it was compared with"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("priors", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.alter_column("priors", server_default=None)
    op.create_table(
        "visits",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("study_date", sa.Text(), nullable=False),
        sa.Column("visit", sa.JSON(), nullable=False),
        sa.Column("diameters", sa.JSON(), nullable=True),
        sa.Column("volume", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_visits_run_id_runs")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_visits_study_id_studies")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_visits")),
    )
    with op.batch_alter_table("visits", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_visits_study_id"), ["study_id"], unique=False)
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_studies_patient_id"), ["patient_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_studies_patient_id"))
    with op.batch_alter_table("visits", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_visits_study_id"))
    op.drop_table("visits")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_column("priors")
