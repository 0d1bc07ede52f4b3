"""The table of the scrub: how far the reading of all files at rest has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base


class ScrubPass(Base):
    """One kind of file's pass. `after_id`: rows up to it were handed out; the figures are of the pass under way."""

    __tablename__ = "scrub_passes"
    kind: Mapped[str] = mapped_column(primary_key=True)
    after_id: Mapped[int] = mapped_column(default=0)
    files: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    begun_at: Mapped[datetime]
    last_ended_at: Mapped[datetime | None]
