"""The API's JSON about destinations and PACS."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from web.schema_base import Schema


class CommitmentOut(Schema):
    """Whether the destination committed itself to keeping the object."""

    state: str = Field(description="owed, asked, committed, failed or not-confirmed; nothing waits for it.")
    reason: str
    ended_at: datetime | None


class DeliveryOut(Schema):
    """What became of one result object at one destination."""

    id: int
    destination: str
    kind: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    held_until: datetime | None = Field(description="When a destination that refuses everything is tried again.")
    last_error: str
    sent_at: datetime | None
    can_resend: bool
    commitment: CommitmentOut | None = Field(description="Null where the destination is not asked.")


class DeadLetterOut(Schema):
    """An object that a destination refused for good."""

    id: int
    scan_id: str
    destination: str
    kind: str
    attempts: int
    last_error: str
    created_at: datetime


class CircuitOut(Schema):
    """A destination as it takes what it is sent. Open: it refuses everything and is left alone until the trial."""

    destination: str
    state: Literal["closed", "open"]
    refusals: int
    opened_at: datetime | None
    trial_at: datetime | None
    last_error: str


class OutboxOut(Schema):
    """What was refused, and by whom."""

    dead_letters: list[DeadLetterOut]
    circuits: list[CircuitOut]


class PacsSeriesOut(Schema):
    """One series as the PACS has it. atPacs: instances there, null where it does not say; here: instances received."""

    series_instance_uid: str
    modality: str
    description: str
    at_pacs: int | None
    here: int


class PriorOut(Schema):
    """Another study of the same patient at the PACS. scanId: where it is here too."""

    study_instance_uid: str
    study_date: str
    description: str
    modalities: list[str]
    instances: int | None
    scan_id: str | None


class PacsAnswerOut(Schema):
    """What one PACS said of the study."""

    peer: str
    state: str = Field(description="answered, unknown (it does not have the study), no-answer, or mismatch.")
    reason: str
    asked_at: datetime
    series: list[PacsSeriesOut]
    priors: list[PriorOut]


class FetchChoice(Schema):
    """Which study to fetch: null for what is missing of this one, else one of its priors."""

    study_instance_uid: str | None = Field(None, max_length=64, pattern=r"^[0-9.]+$")
