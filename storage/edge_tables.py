"""Tables of the receiving edge: associations that were refused, and the condition of each listener."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, Json


class Refusal(Base):
    """One kind of refusal of one peer, counted. `reason` is a word, `text` says what a person can do."""

    __tablename__ = "refusals"
    __table_args__ = (
        UniqueConstraint("reason", "calling_ae", "called_ae", "address", name="uq_refusals_peer"),
        Index(None, "last_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str]
    calling_ae: Mapped[str]
    called_ae: Mapped[str]
    address: Mapped[str]
    text: Mapped[str]
    count: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class Receiver(Base):
    """The last condition of a listener, by the name of its folder. `pressure`: why it refuses objects, or ''.

    `filed_through`: all it received before this time has its row; NULL where it never answers before that.
    `senders`: by calling AE title, since when one of its associations is open and when one last broke off; NULL
    where an earlier release wrote the row.
    """

    __tablename__ = "receivers"
    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    associations: Mapped[int]
    backlog_bytes: Mapped[int] = mapped_column(BigInteger)
    backlog_objects: Mapped[int]
    filed_through: Mapped[datetime | None]
    pressure: Mapped[str]
    senders: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
