"""When the studies of a simulated hospital day come, from where, and how: pure, from a seed."""

from __future__ import annotations

import bisect
import itertools
import random
from dataclasses import dataclass
from enum import StrEnum

#: Studies by hour of the day, in shares: two humps, a quiet night, and the night shift's images sent in one go at 7.
_BY_HOUR = (1, 1, 0, 0, 0, 1, 2, 12, 9, 10, 10, 9, 6, 7, 9, 9, 8, 6, 4, 3, 2, 2, 1, 1)
_BURST_HOUR = 7
_DAY_H = 24.0


class Manner(StrEnum):
    """How a study comes. late: its last images some time after the others. again: whole, and later all once more."""

    WHOLE = "whole"
    LATE = "late"
    AGAIN = "again"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One study. hour: of the day, 0 to 24."""

    number: int
    hour: float
    modality: str
    manner: Manner


def arrivals(studies: int, modalities: int, seed: int) -> list[Arrival]:
    """A day's studies by their hour; one in ten has late images, one in ten is sent twice."""
    drawn = random.Random(seed)
    ends = list(itertools.accumulate(_BY_HOUR))
    hours = []
    for number in range(studies):
        # Evenly through the curve, so that a small day has its shape too.
        place = (number + drawn.random()) / studies * ends[-1]
        hour = bisect.bisect_right(ends, place)
        within = (place - (ends[hour] - _BY_HOUR[hour])) / _BY_HOUR[hour]
        hours.append(float(hour) if hour == _BURST_HOUR else min(hour + within, _DAY_H))
    manners = [Manner.LATE, Manner.AGAIN, *[Manner.WHOLE] * 8]
    return [
        Arrival(
            number=number, hour=hour, modality=f"MR{number % modalities + 1}", manner=manners[number % len(manners)]
        )
        for number, hour in enumerate(sorted(hours))
    ]
