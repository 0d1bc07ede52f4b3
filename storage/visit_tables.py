"""The table of a patient's visits: what each analysis run says of its study, for the series of dates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, Json


class PatientVisit(Base):
    """One run's visit. `visit`: volumes and lesions under their tracking UIDs; `diameters`, `volume`: the suggested
    responses with their arithmetic, null at a first visit. `study_date`: YYYYMMDD.
    """

    __tablename__ = "visits"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    study_date: Mapped[str]
    visit: Mapped[Json]
    diameters: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    volume: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
