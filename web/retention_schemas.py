"""The API's JSON about received images that are kept, removed or on hold."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from web.schema_base import Schema


class HoldOut(Schema):
    """Nothing of the scan is removed while this lasts."""

    id: int
    whole_patient: bool = Field(description="It applies to all scans under this Patient ID.")
    reason: str
    placed_by: str
    placed_at: datetime


class RetentionOut(Schema):
    """What became of the received images. Results are always kept."""

    removed_at: datetime | None = Field(description="When they were last removed by policy; null where never.")
    removed_instances: int = Field(description="How many are removed now; fewer once the study is sent again.")
    why: str
    holds: list[HoldOut]


class HoldChoice(Schema):
    """Why to keep the images, and whether all of the patient."""

    reason: str = Field("", max_length=300)
    whole_patient: bool = False
