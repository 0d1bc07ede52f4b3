"""The tables of what passes between this node and its PACS beside the objects: commitment, circuits, answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, Json, one_of
from storage.vocabulary import CommitmentState, PacsAnswerState, ReportState


class Commitment(Base):
    """What became of asking the destination of a delivery to commit itself to the object.

    `transaction_uid` is the latest request's; `resends` counts how often the object was sent anew after a denial.
    """

    __tablename__ = "commitments"
    __table_args__ = (one_of("state", CommitmentState), Index(None, "state", "next_attempt_at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), unique=True)
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    resends: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    transaction_uid: Mapped[str | None]
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class CommitmentTransaction(Base):
    """One request of ours. Kept, so that a report that comes days later still finds its objects."""

    __tablename__ = "commitment_transactions"
    transaction_uid: Mapped[str] = mapped_column(primary_key=True)
    destination: Mapped[str]
    asked_at: Mapped[datetime]


class CommitmentRequest(Base):
    """One request of a peer: `instances` is a list of [SOP Class UID, SOP Instance UID]."""

    __tablename__ = "commitment_requests"
    __table_args__ = (
        UniqueConstraint("calling_ae", "transaction_uid"),
        one_of("state", ReportState),
        Index(None, "state", "next_attempt_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str]
    calling_ae: Mapped[str]
    instances: Mapped[list[Any]] = mapped_column(JSON)
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str] = mapped_column(default="")
    received_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Circuit(Base):
    """How a destination takes what it is sent: refusals in a row, and since when and until when it is left alone."""

    __tablename__ = "circuits"
    destination: Mapped[str] = mapped_column(primary_key=True)
    refusals: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime | None]
    trial_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(default="")


class PacsAnswer(Base):
    """What a PACS said about a study: `series` and `priors` are lists of plain values, see `storage.pacs_answers`."""

    __tablename__ = "pacs_answers"
    __table_args__ = (UniqueConstraint("study_id", "peer"), one_of("state", PacsAnswerState))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    peer: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    series: Mapped[list[Json]] = mapped_column(JSON, default=list)
    priors: Mapped[list[Json]] = mapped_column(JSON, default=list)
    asked_at: Mapped[datetime]
