"""A scan's results as the page shows them, read from the JSON of `pipeline.report_json`, older releases' included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report import VOLUME_INTERVAL_RULE, calibration_text

_STAGES = {
    "prepare": "Preparation",
    "detect": "Detection",
    "classify": "Tumour type",
    "segment": "Segmentation",
    "measure": "Measurement",
}
#: Of all quantities of a report, those of the table. docs/measurements.md has the others.
_COLUMNS = {
    "volume": "volume_ml",
    "longest axial diameter": "longest_mm",
    "perpendicular axial diameter": "perpendicular_mm",
}
_REGION_NAMES = {
    "WT": "Whole tumour",
    "TC": "Tumour core",
    "ET": "Enhancing tumour",
    "ED": "Oedema",
    "NCR": "Necrotic core",
}


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """One answer of a model: heading, value, its probability 0..1, and every class with its probability."""

    heading: str
    value: str
    probability: float
    probabilities: tuple[tuple[str, float], ...]
    basis: str
    role: str
    calibration: str


@dataclass(frozen=True, kw_only=True)
class SkippedView:
    """A stage that did not run."""

    stage: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One line of the table: of the total (lesion None) or one lesion, one region. None where not measured.

    volume_interval_ml: lowest and highest volume, where the model gave an interval.
    """

    subject: str
    lesion: int | None
    volume_ml: float | None
    longest_mm: float | None
    perpendicular_mm: float | None
    volume_interval_ml: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """A model that answered; `hash_prefix` is the start of its weight file's SHA-256."""

    task: str
    name: str
    version: str
    hash_prefix: str


@dataclass(frozen=True, kw_only=True)
class ChoiceView:
    """Why this model answered a stage."""

    stage: str
    model: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ResultView:
    """Everything of a report the page shows."""

    findings: tuple[FindingView, ...]
    measures: tuple[MeasureRow, ...]
    skipped: tuple[SkippedView, ...]
    flags: tuple[str, ...]
    models: tuple[ModelView, ...]
    choices: tuple[ChoiceView, ...]
    timings: tuple[tuple[str, float], ...]
    registrations: tuple[tuple[str, float, float], ...]
    reference_role: str
    interval_rule: str


def result_view(results: Mapping[str, Any]) -> ResultView:
    """Return the page's view of a report's JSON."""
    parts = [(name, results.get(name)) for name in ("detection", "tumour_type", "segmentation", "measurements")]
    present = [(name, part) for name, part in parts if isinstance(part, Mapping)]
    measures = _measures(results.get("measurements"))
    return ResultView(
        findings=tuple(
            _finding("Tumour detection" if name == "detection" else "Tumour type", part)
            for name, part in present
            if "value" in part
        ),
        measures=measures,
        skipped=tuple(_skipped(part) for _, part in present if "reason" in part),
        flags=tuple(str(flag.get("text", "")) for flag in _mappings(results.get("flags"))),
        models=tuple(_model(part["model"]) for _, part in present if isinstance(part.get("model"), Mapping)),
        choices=tuple(
            ChoiceView(
                stage=_stage(one.get("stage")),
                model=f"{one.get('model', '')} {one.get('version', '')}",
                reason=str(one.get("reason", "")),
            )
            for one in _mappings(results.get("choices"))
        ),
        timings=tuple(
            (_stage(one.get("stage")), _number(one.get("seconds")) or 0.0) for one in _mappings(results.get("timings"))
        ),
        registrations=tuple(
            (
                str(one.get("role", "")),
                _number(one.get("rotation_deg")) or 0.0,
                _number(one.get("translation_mm")) or 0.0,
            )
            for one in _mappings(results.get("registrations"))
        ),
        reference_role=str(results.get("reference_role", "")),
        interval_rule=VOLUME_INTERVAL_RULE if any(row.volume_interval_ml for row in measures) else "",
    )


def headline(results: Mapping[str, Any]) -> str | None:
    """Return one line for the list, e.g. 'tumour 97 %, glioma 88 %, 34.2 mL'. None where nothing was answered."""
    view = result_view(results)
    words = [f"{finding.value} {finding.probability * 100:.0f} %" for finding in view.findings]
    total = next((row for row in view.measures if row.lesion is None and row.subject == _REGION_NAMES["WT"]), None)
    if total is not None and total.volume_ml is not None:
        words.append(f"{total.volume_ml:.1f} mL")
    return ", ".join(words) or None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _stage(word: object) -> str:
    return _STAGES.get(str(word), str(word))


def _class_name(word: object) -> str:
    return "no tumour" if word == "notumor" else str(word)


def _finding(heading: str, part: Mapping[str, Any]) -> FindingView:
    classes = part.get("probabilities")
    shares = (
        {_class_name(name): _number(share) or 0.0 for name, share in classes.items()}
        if isinstance(classes, Mapping)
        else {}
    )
    return FindingView(
        heading=heading,
        value=_class_name(part["value"]),
        probability=_number(part.get("probability")) or 0.0,
        probabilities=tuple(sorted(shares.items(), key=lambda item: -item[1])),
        basis=str(part.get("basis", "")),
        role=str(part.get("role", "")),
        # Reports of older releases do not have it and say nothing.
        calibration=calibration_text(_number(part["calibration_error"])) if "calibration_error" in part else "",
    )


def _skipped(part: Mapping[str, Any]) -> SkippedView:
    return SkippedView(stage=_stage(part.get("stage")), code=str(part.get("code", "")), reason=str(part["reason"]))


def _model(part: Mapping[str, Any]) -> ModelView:
    return ModelView(
        task=str(part.get("task", "")),
        name=str(part.get("name", "")),
        version=str(part.get("version", "")),
        hash_prefix=str(part.get("weights_sha256", ""))[:12],
    )


def _measures(part: object) -> tuple[MeasureRow, ...]:
    """One row for each (lesion, subject), the total first, in the order the report gives the subjects."""
    cells: dict[tuple[int, str], dict[str, float]] = {}
    values = part.get("values") if isinstance(part, Mapping) else None
    for one in _mappings(values):
        number = _number(one.get("value"))
        if number is None:
            continue
        lesion = one.get("lesion")
        key = (int(lesion) if isinstance(lesion, int) else 0, str(one.get("subject", "")))
        column = _COLUMNS.get(str(one.get("quantity", "")))
        if column is None:
            continue
        cells.setdefault(key, {})[column] = number
        for end in ("low", "high"):
            if (limit := _number(one.get(end))) is not None:
                cells[key][f"{column}_{end}"] = limit
    rows = (_row(lesion, subject, cells[lesion, subject]) for lesion, subject in _ordered(cells))
    # A lesion without a compartment would fill the table with noughts.
    return tuple(row for row in rows if row.lesion is None or row.volume_ml or row.longest_mm)


def _ordered(keys: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    order = list(_REGION_NAMES)
    return sorted(keys, key=lambda key: (key[0], order.index(key[1]) if key[1] in order else len(order)))


def _row(lesion: int, subject: str, cells: Mapping[str, float]) -> MeasureRow:
    return MeasureRow(
        subject=_REGION_NAMES.get(subject, subject),
        lesion=lesion or None,
        volume_ml=cells.get("volume_ml"),
        longest_mm=cells.get("longest_mm"),
        perpendicular_mm=cells.get("perpendicular_mm"),
        volume_interval_ml=(cells["volume_ml_low"], cells["volume_ml_high"])
        if "volume_ml_low" in cells and "volume_ml_high" in cells
        else None,
    )
