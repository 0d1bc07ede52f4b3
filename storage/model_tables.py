"""The table of what each model answered in each run, whether its answer was sent or only recorded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, Json, one_of
from storage.vocabulary import AnswerMode


class ModelAnswer(Base):
    """One model's answer in one run. `sha256`: of its weights. Shadow answers left the node in no result.

    `answer`: value, probability, volumes; `agreement`: of a shadow answer with the one that was sent. Both without
    voxels, and null where `error` says why there is none.
    """

    __tablename__ = "model_answers"
    __table_args__ = (UniqueConstraint("run_id", "task", "name", "version", "sha256"), one_of("mode", AnswerMode))
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    task: Mapped[str]
    name: Mapped[str]
    version: Mapped[str]
    sha256: Mapped[str]
    mode: Mapped[str]
    answer: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    agreement: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    seconds: Mapped[float]
    peak_memory_mb: Mapped[float]
    error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
