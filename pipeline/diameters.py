"""Longest axial diameter of a region and the longest chord perpendicular to it, in the manner of RANO.

Both lie on one axial plane: the one that shows the longest diameter. Lengths are taken between pixel edges, so that a
disc of known diameter comes back within one pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from pipeline.geometry import resample_array
from pipeline.grids import bounding_box, box_grid, crop_grid, field_of_view_mm, world_points
from pipeline.report import DiameterLine
from pipeline.volume import Grid, LabelArray

#: Planes tilted further than this from the horizontal are no axial planes any more; the mask is resampled then.
_LARGEST_TILT_DEG = 30.0
#: The perpendicular is searched on lines this share of the smaller pixel apart, and sampled as finely.
_SUBPIXEL = 0.25

_Point = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chord:
    """A line in one plane, ends in mm along the plane's two axes from pixel (0, 0)."""

    start: _Point
    end: _Point

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.end - self.start))


def axial_diameters(mask: LabelArray, grid: Grid) -> tuple[DiameterLine, DiameterLine] | None:
    """The longest axial diameter of the non-zero voxels of `mask` (I, J, K) on `grid`, and its perpendicular.

    Planes: those of the grid whose normal lies nearest to the head's axis (z of RAS+); where that is over 30 degrees
    off, planes of a resampled copy. A plane's separate pieces are measured one by one. None where the mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        return None
    part, part_grid = (mask[box] > 0).astype(np.uint8), crop_grid(grid, box)
    axis = plane_axis(part_grid)
    if axis is None:
        # Half voxels: the resampled edge is rounded once more, and by less.
        finest = 0.5 * min(grid.spacing_mm)
        # A rim of zeros, or the outermost voxels would be sampled as reaching half a voxel further.
        part, part_grid = np.pad(part, 1), crop_grid(part_grid, tuple(slice(-1, n + 1) for n in part.shape))
        level = box_grid(*field_of_view_mm(part_grid), finest)
        part = (resample_array(part.astype(np.float32), part_grid, level) > 0.5).astype(np.uint8)
        part_grid, axis = level, 2
        if not part.any():
            return None
    across = [other for other in range(3) if other != axis]
    spacing = np.array([part_grid.spacing_mm[other] for other in across])
    best: tuple[float, int, NDArray[np.bool_], _Chord] | None = None
    for index in range(part.shape[axis]):
        plane = np.take(part, index, axis=axis)
        pieces, _ = ndimage.label(plane, structure=np.ones((3, 3)))
        for number, where in enumerate(ndimage.find_objects(pieces), start=1):
            if where is None or (best is not None and _diagonal(where, spacing) <= best[0]):
                continue
            piece = pieces == number
            chord = _longest_chord(piece, spacing)
            if best is None or chord.length > best[0] + 1e-9:
                best = (chord.length, index, piece, chord)
    if best is None:
        return None
    _, index, piece, longest = best
    return (
        _line(longest, index, axis, across, part_grid, spacing),
        _line(_perpendicular_chord(piece, spacing, longest), index, axis, across, part_grid, spacing),
    )


def plane_axis(grid: Grid) -> int | None:
    """The grid axis nearest to the patient's z, or None where none is near enough to give axial planes."""
    cosines = np.abs(grid.affine[2, :3]) / np.array(grid.spacing_mm)
    axis = int(np.argmax(cosines))
    return axis if cosines[axis] >= np.cos(np.deg2rad(_LARGEST_TILT_DEG)) else None


def _diagonal(where: tuple[slice, ...], spacing: _Point) -> float:
    return float(np.linalg.norm([(part.stop - part.start) * mm for part, mm in zip(where, spacing, strict=True)]))


def _longest_chord(piece: NDArray[np.bool_], spacing: _Point) -> _Chord:
    """The farthest pair among the middles of the edges of all pixels of one piece (R, C)."""
    surface = piece & ~ndimage.binary_erosion(piece)
    centres = np.argwhere(surface).astype(np.float64)
    half = 0.5 * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    points = (centres[:, None, :] + half).reshape(-1, 2) * spacing
    hull = points[ConvexHull(points).vertices]
    distances = cdist(hull, hull)
    first, second = np.unravel_index(int(np.argmax(distances)), distances.shape)
    return _Chord(start=hull[first], end=hull[second])


def _perpendicular_chord(piece: NDArray[np.bool_], spacing: _Point, longest: _Chord) -> _Chord:
    """The longest line inside the piece at a right angle to `longest`."""
    step = _SUBPIXEL * float(spacing.min())
    along = (longest.end - longest.start) / longest.length
    across = np.array([-along[1], along[0]])
    rows = np.arange(0.0, longest.length + step, step)
    columns = np.arange(-longest.length, longest.length + step, step)
    samples = longest.start + rows[:, None, None] * along + columns[None, :, None] * across
    # Half a pixel: pixel n covers n - 0.5 to n + 0.5.
    pixels = np.floor(samples / spacing + 0.5).astype(int)
    valid = ((pixels >= 0) & (pixels < piece.shape)).all(axis=2)
    clipped = np.clip(pixels, 0, np.array(piece.shape) - 1)
    inside = valid & piece[clipped[..., 0], clipped[..., 1]]
    row, first, last = _longest_run(inside)
    middle = longest.start + rows[row] * along
    return _Chord(
        start=middle + (columns[first] - step / 2) * across,
        end=middle + (columns[last] + step / 2) * across,
    )


def _longest_run(inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Row, first and last column of the longest run of True along the rows of (R, C)."""
    padded = np.pad(inside, ((0, 0), (1, 1))).astype(np.int8)
    edges = np.diff(padded, axis=1)
    row_starts, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    best = int(np.argmax(ends - starts))
    return int(row_starts[best]), int(starts[best]), int(ends[best]) - 1


def _line(chord: _Chord, index: int, axis: int, across: list[int], grid: Grid, spacing: _Point) -> DiameterLine:
    ends = np.empty((2, 3))
    ends[:, axis] = index
    ends[:, across] = np.stack([chord.start, chord.end]) / spacing
    start, end = world_points(ends, grid)
    return DiameterLine(
        start_mm=(float(start[0]), float(start[1]), float(start[2])),
        end_mm=(float(end[0]), float(end[1]), float(end[2])),
        length_mm=float(np.linalg.norm(end - start)),
    )
