"""The API's JSON: field names as the dashboard's clients know them (camelCase)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pipeline.volume import SeriesRole
from storage.lifecycle import ScanState
from web.outward_schemas import DeliveryOut, PacsAnswerOut
from web.retention_schemas import RetentionOut
from web.review_schemas import ReviewOut
from web.schema_base import Schema


class ScanSummary(Schema):
    """One scan in the list."""

    id: str
    patient_id: str
    patient_name: str
    scan_date: str
    modalities: list[str]
    status: ScanState
    progress: int = Field(ge=0, le=100)
    pipeline_step: str
    waiting_for: str
    source: str
    created_at: datetime
    updated_at: datetime
    user_id: int | None
    error_code: str | None
    error_text: str | None
    finding: str | None = Field(None, description="One line of the result, once there is one.")


class ScanPage(Schema):
    """One page of the list; `nextCursor` leads to the next, null at the end."""

    items: list[ScanSummary]
    next_cursor: str | None


class SeriesOut(Schema):
    """One received series: which role it fills and why, or why it fills none."""

    series_instance_uid: str
    modality: str
    description: str
    instance_count: int
    role: str | None = Field(description="The role used: the person's choice if there is one, else the node's.")
    assigned_role: str | None = Field(description="The role the node found by itself.")
    role_override: str | None
    score: float | None
    reasons: list[str]
    excluded_reason: str | None


class EventOut(Schema):
    """Something that happened to the scan."""

    at: datetime
    kind: str
    text: str


class ScanDetail(ScanSummary):
    """One scan with all the node knows of it."""

    results: dict[str, Any] | None
    series: list[SeriesOut]
    missing_roles: list[SeriesRole]
    deliveries: list[DeliveryOut]
    pacs: list[PacsAnswerOut] = Field(description="What each PACS that was asked says of the study.")
    retention: RetentionOut
    review: ReviewOut | None = Field(description="The review that holds for these results.")
    events: list[EventOut]
    downloads: list[str]


_Line = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ScanChange(Schema):
    """What was typed at an upload, corrected; what is left out stays."""

    patient_name: Annotated[_Line, StringConstraints(max_length=194)] | None = Field(None, examples=["Doe^Jane"])
    patient_id: Annotated[_Line, StringConstraints(min_length=1, max_length=64)] | None = Field(None, examples=["P-7"])
    scan_date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(
        None, examples=["2026-01-31"]
    )


class RoleChoice(Schema):
    """Series Instance UIDs to the role a person says they have; null takes an earlier choice back."""

    roles: dict[Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9.]+$")], SeriesRole | None] = Field(
        min_length=1, max_length=50, examples=[{"1.2.826.0.1.3680043.8.498.1": "T1CE"}]
    )


class RequestAccepted(Schema):
    """The worker will do this next."""

    scan_id: str
    request: str


class Refusal(Schema):
    """One file of an upload that was not taken."""

    number: int = Field(description="Position in the upload, from 1. Names are not repeated: they may name patients.")
    reason: str


class UploadAnswer(Schema):
    """What became of an upload."""

    scans: list[ScanSummary]
    received: int
    duplicates: int = 0
    refused: list[Refusal] = Field(default_factory=list)


class AxisOut(Schema):
    """One plane of the images. sides: what lies at the picture's left, right, up and down edge (R, L, A, P, S, I)."""

    axis: str
    count: int
    start: int
    sides: dict[str, str]


class ImagesOut(Schema):
    """What there is to show of a scan."""

    axes: list[AxisOut]
    has_segmentation: bool
    series: list[str] = Field(description="Roles of the series that can be shown, all on the reference's grid.")
    has_brain: bool = Field(description="The volume BRAIN is there: the reference series inside the brain alone.")
    reference_series: str = Field(description="The role of the series that everything is laid on.")


class LiveOut(Schema):
    """The process runs."""

    status: Literal["ok"]


class CheckOut(Schema):
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


class HealthOut(Schema):
    """The node's condition."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: list[CheckOut]
    models: list[CheckOut]
    destinations: list[CheckOut]
    queue_length: int
    queue_age_s: float | None
    delivery_age_s: float | None
