"""Whether all slices of a series seem to be here, as far as positions and instance numbers can tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.slice_geometry import MIN_SLICES, find_gaps

#: A series that starts at one of these instance numbers is taken to have lost the ones before; at a higher one it is
#: taken to be numbered on from another series.
_LOST_START = range(2, 5)


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """slices: distinct positions received. expected: how many there should be. gap_mm: first gap's place.

    instances: received. held_by_pacs: how many the PACS says it has, None where it did not say.
    """

    slices: int
    expected: int
    gap_mm: float | None = None
    instances: int = 0
    held_by_pacs: int | None = None

    @property
    def complete(self) -> bool:
        """True where nothing is seen to be missing; a lost last slice cannot be seen."""
        known = self.held_by_pacs is None or self.held_by_pacs <= self.instances
        return known and self.slices >= max(self.expected, MIN_SLICES) and self.gap_mm is None

    def __str__(self) -> str:
        place = "" if self.gap_mm is None else f", gap at {self.gap_mm:.1f} mm"
        told = f"{self.slices} of {max(self.expected, MIN_SLICES)} slices{place}"
        if self.held_by_pacs is not None and self.held_by_pacs > self.instances:
            told += f"; PACS says {self.held_by_pacs} instances, {self.instances} here"
        return told


def completeness_of(series: SeriesHeaders, held_by_pacs: int | None = None) -> Completeness:
    """How complete the stack of a series is. held_by_pacs: instances the PACS says it has of it."""
    places = np.array(series.distinct_mm)
    gaps = [g for g in find_gaps(places) if g.missing]
    by_position = len(places) + sum(g.missing for g in gaps)
    return Completeness(
        slices=len(places),
        expected=max(by_position, _numbered(series, len(places))),
        gap_mm=gaps[0].position_mm if gaps else None,
        instances=len(series.headers),
        held_by_pacs=held_by_pacs,
    )


def _numbered(series: SeriesHeaders, slices: int) -> int:
    """Slices by the range of InstanceNumber; 0 where the numbers do not count slices."""
    frames = [f.in_stack_position for h in series.headers for f in h.frames if f.in_stack_position is not None]
    numbers = frames or [h.instance_number for h in series.headers if h.instance_number is not None]
    if not numbers or len(set(numbers)) != slices:
        return 0
    first, last = min(numbers), max(numbers)
    if first in _LOST_START:
        first = 1
    span = last - first + 1
    # Numbers that leap (every second, or one block for each stack) count something other than slices.
    return span if span <= 2 * slices else 0
