"""Two scans beside one another: what each found, and how far the measures differ."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import Field

from storage.scan_rows import ScanRow
from web.scan_view import summary
from web.schema_base import Schema
from web.schemas import ScanSummary


class MeasureDifference(Schema):
    """One measure in both scans; null where a scan does not have it."""

    quantity: str = Field(examples=["volume"])
    subject: str = Field(examples=["WT"])
    unit: str = Field(examples=["mL"])
    first: float | None
    second: float | None
    difference: float | None = Field(description="Second less first.")
    percent: float | None = Field(description="Of the first; null where that is zero.")


class Comparison(Schema):
    """Two scans, in the order they were asked for."""

    scans: list[ScanSummary]
    same_patient: bool = Field(description="Both have one patient ID; IDs of two hospitals may be equal by chance.")
    days_between: int | None = Field(description="From the first scan's date to the second's.")
    same_models: bool = Field(description="False where a difference may come from another model or version.")
    measures: list[MeasureDifference]


def compare(first: ScanRow, second: ScanRow) -> Comparison:
    """Set two scans side by side; scans without results have no measures."""
    ours, theirs = _measures(first.results or {}), _measures(second.results or {})
    return Comparison(
        scans=[summary(first), summary(second)],
        same_patient=bool(first.patient_id) and first.patient_id == second.patient_id,
        days_between=_days(first.scan_date, second.scan_date),
        same_models=_models(first.results or {}) == _models(second.results or {}),
        measures=[_difference(key, ours.get(key), theirs.get(key)) for key in dict.fromkeys([*ours, *theirs])],
    )


def _measures(results: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    part = results.get("measurements")
    values = part.get("values") if isinstance(part, Mapping) else None
    found: dict[tuple[str, str, str], float] = {}
    for one in values if isinstance(values, list) else []:
        # Totals only: lesions of two dates are matched by the follow-up, not by their numbers.
        if isinstance(one, Mapping) and one.get("lesion") is None and isinstance(one.get("value"), int | float):
            key = (str(one.get("quantity", "")), str(one.get("subject", "")), str(one.get("unit", "")))
            found[key] = float(one["value"])
    return found


def _difference(key: tuple[str, str, str], first: float | None, second: float | None) -> MeasureDifference:
    difference = None if first is None or second is None else second - first
    percent = None if difference is None or not first else 100 * difference / first
    return MeasureDifference(
        quantity=key[0], subject=key[1], unit=key[2], first=first, second=second, difference=difference, percent=percent
    )


def _models(results: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    parts = (results.get(stage) for stage in ("detection", "tumour_type", "segmentation"))
    models = (part.get("model") for part in parts if isinstance(part, Mapping))
    return frozenset(
        (str(model.get("name")), str(model.get("weights_sha256"))) for model in models if isinstance(model, Mapping)
    )


def _days(first: str, second: str) -> int | None:
    try:
        return (date.fromisoformat(second) - date.fromisoformat(first)).days
    except ValueError:
        return None
