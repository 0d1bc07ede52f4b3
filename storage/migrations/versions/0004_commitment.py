"""Storage commitment both ways, circuits of destinations, what a PACS says of a study"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_REQUESTS_BEFORE = "kind IN ('process-now', 'retry', 'role-override')"
_REQUESTS = "kind IN ('process-now', 'retry', 'role-override', 'resend', 'fetch')"


def upgrade() -> None:
    op.create_table(
        "commitment_transactions",
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitment_transactions")),
    )
    op.create_table(
        "commitment_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('owed', 'answered', 'given-up')", name=op.f("ck_commitment_requests_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment_requests")),
        sa.UniqueConstraint(
            "calling_ae", "transaction_uid", name=op.f("uq_commitment_requests_calling_ae_transaction_uid")
        ),
    )
    with op.batch_alter_table("commitment_requests", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_commitment_requests_state_next_attempt_at"), ["state", "next_attempt_at"], unique=False
        )
    op.create_table(
        "circuits",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_circuits")),
    )
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("resends", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('owed', 'asked', 'committed', 'failed', 'not-confirmed')", name=op.f("ck_commitments_state")
        ),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_commitments_delivery_id_deliveries")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("delivery_id", name=op.f("uq_commitments_delivery_id")),
    )
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_commitments_state_next_attempt_at"), ["state", "next_attempt_at"], unique=False
        )
    op.create_table(
        "pacs_answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.Column("priors", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('answered', 'unknown', 'no-answer', 'mismatch')", name=op.f("ck_pacs_answers_state")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_pacs_answers_study_id_studies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pacs_answers")),
        sa.UniqueConstraint("study_id", "peer", name=op.f("uq_pacs_answers_study_id_peer")),
    )
    _request_kinds(_REQUESTS)


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM requests WHERE kind IN ('resend', 'fetch')"))
    _request_kinds(_REQUESTS_BEFORE)
    op.drop_table("pacs_answers")
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_commitments_state_next_attempt_at"))
    op.drop_table("commitments")
    op.drop_table("circuits")
    with op.batch_alter_table("commitment_requests", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_commitment_requests_state_next_attempt_at"))
    op.drop_table("commitment_requests")
    op.drop_table("commitment_transactions")


def _request_kinds(allowed: str) -> None:
    """Change the words a request may be. SQLite rebuilds the table, and its check constraints are not carried over."""
    with op.batch_alter_table("requests", schema=None) as batch_op:
        if op.get_bind().dialect.name != "sqlite":
            batch_op.drop_constraint(op.f("ck_requests_kind"), type_="check")
        batch_op.create_check_constraint(op.f("ck_requests_kind"), sa.text(allowed))
