"""A patient's visits as the follow-up page shows them: visits, curve, table of change, suggested categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipeline.followup import ChangeRow, FollowUp, Visit
from pipeline.followup_json import follow_up_from_dict

#: The regions of the curve, in the order of its legend.
CURVES = ("WT", "TC", "ET")
NAMES = {
    "WT": "Whole tumour",
    "TC": "Tumour core",
    "ET": "Enhancing tumour",
    "NCR": "Necrotic core",
    "ED": "Oedema",
    "targets": "Target lesions",
}
_WIDTH, _HEIGHT = 600.0, 180.0
#: Room that a date takes, in the same units.
_LABEL = 100.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One region's curve. points: (x, y) in the picture's own units, y downwards."""

    region: str
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Volumes over time, 600 x 180 units. ticks: (y, mL). days: (x, date) of the first, the last, those with room."""

    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, float], ...]
    days: tuple[tuple[float, date], ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line of the table of change. what: the quantity in words. of: the region, targets or lesion."""

    what: str
    of: str
    row: ChangeRow


def follow_up_of(results: Mapping[str, Any] | None) -> FollowUp | None:
    """Return the follow-up of a report's JSON, None where it has none or one of another release that cannot be read."""
    told = (results or {}).get("follow_up")
    try:
        return follow_up_from_dict(told)
    except (KeyError, TypeError, ValueError):
        return None


def changes_of(follow_up: FollowUp) -> list[Change]:
    """Return the table of change with lesions by the number they have in the present report."""
    numbers = {lesion.tracking_uid: lesion.number for lesion in follow_up.current.lesions}
    return [
        Change(what=row.quantity.capitalize(), of=_subject(row, numbers), row=row)
        for row in follow_up.changes
        if any(value for value in (row.baseline, row.previous, row.current))
    ]


def _subject(row: ChangeRow, numbers: Mapping[str, int]) -> str:
    name = NAMES.get(row.subject, row.subject)
    if not row.tracking_uid:
        return name
    number = numbers.get(row.tracking_uid)
    return f"{name}, lesion {number}" if number else f"{name}, a lesion that is gone"


def curve_of(visits: Sequence[Visit]) -> Curve | None:
    """Return the curve of two visits or more, on different days; None for fewer."""
    days = [visit.day for visit in visits]
    span = (max(days) - min(days)).days if days else 0
    if not span:
        return None
    top = _round_up(max((visit.volumes_ml.get(region, 0.0) for visit in visits for region in CURVES), default=0.0))

    def x(day: date) -> float:
        return round(_WIDTH * (day - min(days)).days / span, 1)

    def y(volume_ml: float) -> float:
        return round(_HEIGHT * (1 - volume_ml / top), 1)

    lines = tuple(
        Line(
            region=region,
            name=NAMES[region],
            points=tuple((x(visit.day), y(visit.volumes_ml[region])) for visit in visits if region in visit.volumes_ml),
        )
        for region in CURVES
    )
    ticks = tuple((y(top * share / 4), top * share / 4) for share in range(5))
    return Curve(lines=lines, ticks=ticks, days=_with_room([(x(day), day) for day in days]))


def _with_room(days: Sequence[tuple[float, date]]) -> tuple[tuple[float, date], ...]:
    shown = [days[0]]
    for place, day in days[1:-1]:
        if place - shown[-1][0] >= _LABEL and days[-1][0] - place >= 1.5 * _LABEL:
            shown.append((place, day))
    return (*shown, days[-1])


def _round_up(value: float) -> float:
    """The next of 1, 2, 4 or 8 times a power of ten, so that quarters are round."""
    step = 0.1
    while True:
        for factor in (1, 2, 4, 8):
            if value <= step * factor:
                return step * factor
        step *= 10
