"""The API's JSON of models and of how their versions agree."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from web.schema_base import Schema


class ModelOut(Schema):
    """A model of the node as the worker found it at its start."""

    name: str
    task: str = Field(description="detection, type or segmentation; empty for the manifest itself.")
    version: str
    ok: bool
    detail: str = Field(description="What it is and how it is used, or what is wrong and what to do.")
    mode: str = Field(description="active, shadow or ab; empty where the entry cannot be read.")
    share: float | None = Field(description="Of the studies a version of mode 'ab' answers, 0 to 1.")
    ensemble: str | None
    sha256: str


class ModelList(Schema):
    """The models, in the manifest's order."""

    items: list[ModelOut]


class VersionOut(Schema):
    """A version of a model, known by the hash of its weights."""

    name: str
    version: str
    sha256: str


class AgreementOut(Schema):
    """A shadow version beside the one whose answers were sent, over the studies that both answered."""

    task: str
    model: VersionOut
    reference: VersionOut
    studies: int
    share: float = Field(description="Of the studies with the same value.")
    kappa: float | None = Field(description="Cohen's; null where both gave one and the same value throughout.")
    mean_dice: dict[str, float | None] = Field(description="By region; null where no study has the region.")
    mean_volume_difference_ml: dict[str, float] = Field(description="By region, the model's minus the reference's.")
    first_at: datetime
    last_at: datetime


class TallyOut(Schema):
    """All answers of one version in one mode."""

    task: str
    model: VersionOut
    mode: str
    answers: int
    errors: int
    values: dict[str, int] = Field(description="How often it gave which value.")
    mean_seconds: float | None
    first_at: datetime
    last_at: datetime


class AgreementTable(Schema):
    """How far versions agree (`items`), and what each answered by itself (`answers`)."""

    items: list[AgreementOut]
    answers: list[TallyOut]
