"""The frame of one brain: the plane that halves it, and its scale to a standard brain. From the brain's outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares

from pipeline.grids import inverse_grid, world_points
from pipeline.volume import Grid, LabelArray

_Points = NDArray[np.float64]

#: The standard brain (MNI152), mm: half its width, its length, its frontmost and topmost point.
_HALF_WIDTH_MM, _LENGTH_MM, _FRONT_MM, _TOP_MM = 68.0, 173.0, 70.0, 78.0
_STRIDE = 2
_CEREBRUM_MM = 100.0
_FEWEST_POINTS = 500
_MOST_POINTS = 3000


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainFrame:
    """normal (3,), offset: signed distance to the midline is normal . p + offset, positive on the patient's right.

    scale: this brain over the standard one. front_mm, top_mm: largest y and z of the brain, RAS+.
    """

    normal: _Points
    offset: float
    scale: float
    front_mm: float
    top_mm: float

    def right_of_midline_mm(self, points_mm: _Points) -> _Points:
        """points_mm: (n, 3) RAS+; signed distances (n,), positive to the right."""
        distances: _Points = points_mm @ self.normal + self.offset
        return distances

    def standard(self, points_mm: _Points) -> _Points:
        """Points (n, 3) RAS+ mm in the standard brain, by shift and one scale: coarse, some 10 mm off."""
        x = self.right_of_midline_mm(points_mm) / self.scale
        y = _FRONT_MM - (self.front_mm - points_mm[:, 1]) / self.scale
        z = _TOP_MM - (self.top_mm - points_mm[:, 2]) / self.scale
        return np.stack([x, y, z], axis=1)


def brain_frame(brain: LabelArray, grid: Grid) -> BrainFrame | None:
    """brain: uint8 (I, J, K) on a RAS+ axis-aligned `grid`. None where there is too little brain to tell a middle."""
    inside = ndimage.binary_fill_holes(brain[::_STRIDE, ::_STRIDE, ::_STRIDE] > 0)
    affine = grid.affine.copy()
    affine[:3, :3] *= _STRIDE
    small = Grid(shape=inside.shape, affine=affine)
    outline = world_points(np.argwhere(inside & ~ndimage.binary_erosion(inside)), small)
    if len(outline) < _FEWEST_POINTS:
        return None
    points = world_points(np.argwhere(inside), small)
    low, high = np.percentile(points, (0.1, 99.9), axis=0)
    # The cerebrum tells the middle; stem and cerebellum, cut where the mask ends, do not.
    outline = outline[outline[:, 2] > high[2] - _CEREBRUM_MM]
    normal, offset = _mirror_plane(inside, small, outline, (low + high) / 2)
    half_width_mm = float(np.percentile(np.abs(points @ normal + offset), 99.8))
    scale = (half_width_mm / _HALF_WIDTH_MM + float(high[1] - low[1]) / _LENGTH_MM) / 2
    return BrainFrame(normal=normal, offset=offset, scale=scale, front_mm=float(high[1]), top_mm=float(high[2]))


def _mirror_plane(inside: NDArray[np.bool_], grid: Grid, outline: _Points, centre: _Points) -> tuple[_Points, float]:
    """The plane in which the outline's points (n, 3), mirrored, lie nearest to the outline again."""
    outside = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm)
    within = ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm)
    away = np.where(inside, within - grid.spacing_mm[0] / 2, outside - grid.spacing_mm[0] / 2)
    back = inverse_grid(grid)
    sample = outline[:: max(len(outline) // _MOST_POINTS, 1)]

    def plane(values: _Points) -> tuple[_Points, float]:
        normal = np.array([1.0, np.tan(values[0]), np.tan(values[1])])
        normal /= np.linalg.norm(normal)
        return normal, -float(normal @ centre) - float(values[2])

    def misses(values: _Points) -> _Points:
        normal, offset = plane(values)
        mirrored = sample - 2 * (sample @ normal + offset)[:, None] * normal
        found: _Points = ndimage.map_coordinates(away, world_points(mirrored, back).T, order=1, mode="nearest")
        return found

    # Soft: a swelling or a hole in the mask has no counterpart, and must not turn the plane.
    best = least_squares(misses, np.zeros(3), loss="soft_l1", f_scale=2.0, x_scale=(0.05, 0.05, 2.0), diff_step=1e-3)
    return plane(best.x)
