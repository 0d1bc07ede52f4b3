"""The tables beside accounts: sign-ins, identities, uploads sent under a key, the end of the audit trail's chain."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, Json


class SignIn(Base):
    """One sign-in of one device. `refresh_sha256` is of the one refresh token that still holds."""

    __tablename__ = "sign_ins"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    token_version: Mapped[int]
    refresh_sha256: Mapped[str]
    address: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str] = mapped_column(default="")


class UserIdentity(Base):
    """Whom an identity provider's subject signs in. An account has one subject at each issuer."""

    __tablename__ = "user_identities"
    __table_args__ = (UniqueConstraint("user_id", "issuer"),)
    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]


class KnownUpload(Base):
    """An upload under its sender's key. `answer` is null while it is being taken."""

    __tablename__ = "uploads_known"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    at: Mapped[datetime]
    answer: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))


class AuditHead(Base):
    """The last entry of the audit trail's chain: one row, locked while an entry is added."""

    __tablename__ = "audit_heads"
    id: Mapped[int] = mapped_column(primary_key=True)
    entries: Mapped[int]
    event_id: Mapped[int]
    sha256: Mapped[str]
