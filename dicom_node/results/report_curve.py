"""The curve of volumes over time: where its points and ticks lie, for whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dicom_node.results.evidence import HistoryPoint

#: RGB of each curve.
COLOURS = {"WT": (86, 140, 73), "TC": (200, 140, 0), "ET": (210, 40, 40)}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """lines: by subject, points from (0, 0), lower left, to (1, 1). ticks: (height, text). dates: (x, YYYYMMDD)."""

    lines: dict[str, tuple[tuple[float, float], ...]]
    ticks: tuple[tuple[float, str], ...]
    dates: tuple[tuple[float, str], ...]


def curve(history: Sequence[HistoryPoint]) -> Curve | None:
    """The curve of two studies or more; None for fewer. Studies lie in time as their dates do."""
    points = sorted((p for p in history if _day(p.study_date) is not None), key=lambda p: p.study_date)
    if len(points) < 2:
        return None
    days = [_day(p.study_date) or 0 for p in points]
    span = max(days[-1] - days[0], 1)
    # Studies of one day lie beside one another.
    across = [(d - days[0]) / span if days[-1] > days[0] else n / (len(days) - 1) for n, d in enumerate(days)]
    highest = _round_up(max((v for p in points for v in p.volumes_ml.values()), default=1.0))
    lines = {
        subject: tuple(
            (x, p.volumes_ml[subject] / highest) for x, p in zip(across, points, strict=True) if subject in p.volumes_ml
        )
        for subject in COLOURS
    }
    return Curve(
        lines={subject: line for subject, line in lines.items() if line},
        ticks=tuple((share, f"{highest * share:g}") for share in (0.0, 0.5, 1.0)),
        dates=tuple((x, p.study_date) for x, p in zip(across, points, strict=True)),
    )


def _day(date: str) -> int | None:
    try:
        return datetime.strptime(date[:8], "%Y%m%d").toordinal()
    except ValueError:
        return None


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if factor * step >= value:
                return factor * step
        step *= 10
