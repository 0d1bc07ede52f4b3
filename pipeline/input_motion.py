"""Did the patient move while a series was measured?

Motion between the phase-encoding steps of a slice copies the head along one axis of the picture, into the air beside
it, and blurs what is sharp. So two numbers are taken: how much brighter the air in line with the head is than that in
the corners, and how evenly gradients are spread over the brain. Skull-stripped images have no air and are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.geometry import resample_array
from pipeline.grids import coarse, head_mask
from pipeline.preparation import PreparedStudy
from pipeline.report import Flag
from pipeline.volume import Volume

SPACING_MM = 2.0
#: Ghosts as bright as this share of the brain are motion by themselves; fainter ones where the brain is blurred too.
#: No clean series that was measured has them: docs/input-check.md.
STRONG_GHOSTS = 0.06
FAINT_GHOSTS, EVEN_GRADIENTS = 0.03, 0.968
#: Air nearer to the head than this holds its blurred edge.
_FROM_HEAD_MM = 12.0
#: The brain's own border is an edge however the patient lay.
_FROM_SURFACE_MM = 6.0
_LEAST_VOXELS = 200
_CROSS = ndimage.generate_binary_structure(2, 1)[:, :, None]


@dataclass(frozen=True, kw_only=True)
class MotionNumbers:
    """ghosts: mean of the air in line with the head minus that in the corners, as a share of the brain's median, along
    the axis where it is larger. evenness: entropy of the gradients in the brain, 0 (all in one place) to 1.
    """

    ghosts: float
    evenness: float

    @property
    def moved(self) -> bool:
        """Whether this is strong motion."""
        return self.ghosts > STRONG_GHOSTS or (self.ghosts > FAINT_GHOSTS and self.evenness > EVEN_GRADIENTS)


def motion_flags(study: PreparedStudy) -> Iterator[Flag]:
    """A flag for every series with strong motion."""
    for role, volume in study.volumes.items():
        small = coarse(volume, SPACING_MM)
        back = None if role is study.reference_role else study.transforms[role].inverse()
        brain = resample_array(study.brain, study.grid, small.grid, "nearest", transform=back) > 0
        numbers = motion_numbers(small, brain)
        if numbers is not None and numbers.moved:
            text = (
                f"The {role} series shows ghosts of {numbers.ghosts:.0%} of the brain's brightness beside the head: "
                "the patient moved. Borders, and small lesions, are not to be trusted."
            )
            yield Flag(code="motion", text=text)


def motion_numbers(volume: Volume, brain: NDArray[np.bool_]) -> MotionNumbers | None:
    """The numbers of one series; None where there is no brain or no air to look at.

    volume: of about `SPACING_MM`; brain: bool, on its grid.
    """
    spacing = np.array(volume.grid.spacing_mm)
    # Slices lie across the axis of the widest spacing; of a volume without one, any axis serves.
    across = int(np.argmax(spacing)) if spacing.max() > 1.3 * spacing.min() else 2
    image = np.moveaxis(volume.voxels.astype(np.float64), across, 2)
    inside, head = np.moveaxis(brain, across, 2), np.moveaxis(head_mask(volume), across, 2)
    area = inside.sum(axis=(0, 1))
    kept = area > 0.3 * area.max()
    image, inside, head = image[:, :, kept], inside[:, :, kept], head[:, :, kept]
    pixel_mm = float(np.delete(spacing, across)[0])
    deep = ndimage.binary_erosion(inside, _CROSS, iterations=max(round(_FROM_SURFACE_MM / pixel_mm), 1))
    if np.count_nonzero(deep) < _LEAST_VOXELS:
        return None
    ghosts = _ghosts(image, head, pixel_mm)
    middle = float(np.median(image[inside]))
    if ghosts is None or middle <= 0:
        return None
    return MotionNumbers(ghosts=ghosts / middle, evenness=_evenness(image, deep))


def _ghosts(image: NDArray[np.float64], head: NDArray[np.bool_], pixel_mm: float) -> float | None:
    near = ndimage.binary_dilation(head, _CROSS, iterations=max(round(_FROM_HEAD_MM / pixel_mm), 1))
    beside, above = (np.broadcast_to(head.any(axis=axis, keepdims=True), head.shape) for axis in (1, 0))
    zones = (~near & beside & ~above, ~near & above & ~beside)
    corners = image[~near & ~beside & ~above]
    ground = float(corners.mean()) if corners.size >= _LEAST_VOXELS else 0.0
    levels = [float(image[zone].mean()) - ground for zone in zones if np.count_nonzero(zone) >= _LEAST_VOXELS]
    return max(levels, default=None)


def _evenness(image: NDArray[np.float64], deep: NDArray[np.bool_]) -> float:
    along, down = np.gradient(image, axis=(0, 1))
    steepness = np.hypot(along, down)[deep]
    total = float(steepness.sum())
    if total <= 0:
        return 0.0
    shares = steepness / total
    return float(-(shares * np.log(shares + 1e-12)).sum() / np.log(len(shares)))
