"""Grey values no scanner gives: cut off at the bright end, of few levels, or slices without an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import resample_array
from pipeline.preparation import PreparedStudy
from pipeline.report import Flag
from pipeline.volume import SeriesRole, Volume

#: This share of the brain at one and the same highest value: the bright end is cut off, where tumour enhances.
SATURATED_SHARE = 0.01
#: Fewer levels than this in the brain: the image was squeezed on its way here.
FEWEST_LEVELS = 40


def grey_flags(study: PreparedStudy) -> Iterator[Flag]:
    """Flags for every series of the study."""
    for role, volume in study.volumes.items():
        transform = None if role is study.reference_role else study.transforms[role].inverse()
        brain = resample_array(study.brain, study.grid, volume.grid, "nearest", transform=transform) > 0
        yield from _series_flags(role, volume, brain)


def _series_flags(role: SeriesRole, volume: Volume, brain: NDArray[np.bool_]) -> Iterator[Flag]:
    values = volume.voxels[brain]
    if values.size == 0:
        return
    highest = float(values.max())
    share = float((values == highest).mean())
    if share > SATURATED_SHARE:
        text = (
            f"{share:.1%} of the brain in the {role} series has one and the same highest value: its bright end is cut "
            "off, and enhancement with it."
        )
        yield Flag(code="intensity-saturated", text=text)
    levels = len(np.unique(values))
    if levels < FEWEST_LEVELS:
        text = f"The {role} series has only {levels} grey levels in the brain: it was squeezed on its way here."
        yield Flag(code="intensity-coarse", text=text)
    blank = _blank_slices(volume, brain)
    if blank:
        text = f"{blank} slices of the {role} series that cross the brain hold no image."
        yield Flag(code="slices-blank", text=text)


def _blank_slices(volume: Volume, brain: NDArray[np.bool_]) -> int:
    """How many planes, along the axis that has most, cross the brain's middle and are all of one value."""
    counts = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        area = np.count_nonzero(brain, axis=others)
        flat = volume.voxels.max(axis=others) == volume.voxels.min(axis=others)
        counts.append(int(np.count_nonzero((area > 0.2 * area.max()) & flat)))
    return max(counts)
