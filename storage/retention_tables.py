"""The tables of retention: what was removed of which study, what has been restored since, and what is on hold."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base


class Removal(Base):
    """The received images of one study taken off the disk. `ended_at`: when the last file was gone.

    `restored_at`: when the first of them came again. `why`: the rule that asked for it.
    """

    __tablename__ = "removals"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    begun_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    restored_at: Mapped[datetime | None]
    instances: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str]


class RemovedInstance(Base):
    """An instance whose row is kept and whose file is gone, or about to go; no more when it comes again."""

    __tablename__ = "removed_instances"
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True, autoincrement=False)
    removal_id: Mapped[int] = mapped_column(ForeignKey("removals.id"), index=True)


class Hold(Base):
    """Nothing of this scan, or of this patient, is removed while the hold is not released."""

    __tablename__ = "holds"
    __table_args__ = (CheckConstraint("(scan_id IS NULL) <> (patient_id IS NULL)", name="subject"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[str | None] = mapped_column(ForeignKey("scans.id"), index=True)
    patient_id: Mapped[str | None] = mapped_column(index=True)
    reason: Mapped[str]
    placed_by: Mapped[str]
    placed_at: Mapped[datetime]
    released_by: Mapped[str | None]
    released_at: Mapped[datetime | None]
