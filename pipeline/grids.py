"""Grids derived from other grids: boxes, crops, the isotropic analysis grid."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from pipeline.volume import FloatArray, Grid, Volume

#: The brain with its stem ends within this distance below the crown, whatever the tilt of the head; below is neck.
_CROWN_TO_FORAMEN_MM = 190.0
_COARSE_MM = 4.0


def world_points(indices: NDArray[np.generic], grid: Grid) -> NDArray[np.float64]:
    """Voxel indices (n, 3) to RAS+ mm (n, 3)."""
    points: NDArray[np.float64] = np.asarray(indices, np.float64) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return points


def field_of_view_mm(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest RAS+ corner (3,), (3,) of the box around the grid, voxel edges included."""
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    corners = world_points(np.array(list(itertools.product(*ends))), grid)
    return corners.min(axis=0), corners.max(axis=0)


def inverse_grid(grid: Grid) -> Grid:
    """The grid of one voxel whose affine leads from RAS+ mm to voxel indices of `grid`, for `world_points`."""
    return Grid(shape=(1, 1, 1), affine=np.linalg.inv(grid.affine).astype(np.float64))


def share_inside(points_mm: NDArray[np.float64], grid: Grid) -> float:
    """Share 0..1 of points (n, 3) in RAS+ mm that lie in the field of view of `grid`; 0 of no points."""
    indices = world_points(points_mm, inverse_grid(grid))
    inside = ((indices >= -0.5) & (indices <= np.array(grid.shape) - 0.5)).all(axis=1)
    return float(inside.mean()) if len(points_mm) else 0.0


def box_grid(low_mm: NDArray[np.float64], high_mm: NDArray[np.float64], spacing_mm: float) -> Grid:
    """The RAS+ axis-aligned isotropic grid whose voxels fill the box from `low_mm` to `high_mm` (rounded up)."""
    shape = np.maximum(np.ceil((high_mm - low_mm) / spacing_mm - 1e-6).astype(int), 1)
    first = (low_mm + high_mm) / 2 - (shape - 1) / 2 * spacing_mm
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = first
    return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)


def crop_grid(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """The part of `grid` under three slices with plain starts and stops."""
    start = [part.start for part in box]
    shape = [part.stop - part.start for part in box]
    affine = grid.affine.copy()
    affine[:3, 3] = grid.affine[:3, :3] @ start + grid.affine[:3, 3]
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def bounding_box(mask: NDArray[np.generic], margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Three slices around the non-zero voxels of `mask`, `margin` voxels wider; None where there are none."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size == 0:
            return None
        box.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, mask.shape[axis])))
    return box[0], box[1], box[2]


def coarse(volume: Volume, spacing_mm: float = _COARSE_MM) -> Volume:
    """Block means at about `spacing_mm`, for questions of shape: the head's box, its mask, its centre."""
    wanted = [max(round(spacing_mm / own), 1) for own in volume.grid.spacing_mm]
    blocks = [min(b, n) for n, b in zip(volume.grid.shape, wanted, strict=True)]
    shape = [n // b for n, b in zip(volume.grid.shape, blocks, strict=True)]
    cut = volume.voxels[: shape[0] * blocks[0], : shape[1] * blocks[1], : shape[2] * blocks[2]]
    means: FloatArray = cut.reshape(shape[0], blocks[0], shape[1], blocks[1], shape[2], blocks[2]).mean(axis=(1, 3, 5))
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((np.array(blocks) - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * blocks
    return Volume(voxels=means, grid=Grid(shape=(shape[0], shape[1], shape[2]), affine=affine))


def head_mask(volume: Volume) -> NDArray[np.bool_]:
    """bool (I, J, K): tissue against air, the largest connected piece with its holes filled. All False if none.

    Half of Otsu's threshold: Otsu alone falls between brain and fat on T1, air lies far below both.
    """
    low, high = (float(v) for v in np.percentile(volume.voxels, (1, 98)))
    if high <= low:
        return np.zeros(volume.grid.shape, dtype=np.bool_)
    clipped = np.clip(volume.voxels, low, high)
    tissue = clipped > low + 0.5 * (float(threshold_otsu(clipped)) - low)
    labels, count = ndimage.label(tissue)
    if count == 0:
        return np.zeros(volume.grid.shape, dtype=np.bool_)
    largest = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(largest)
    return filled


def analysis_grid(reference: Volume, spacing_mm: float = 1.0, margin_mm: float = 10.0) -> Grid:
    """The RAS+ axis-aligned isotropic grid around the reference's head, `margin_mm` wider, inside its field of view.

    Neck is left out: nothing further than 190 mm below the crown is covered.
    """
    low, high = field_of_view_mm(reference.grid)
    small = coarse(reference)
    indices = np.argwhere(head_mask(small))
    if indices.size:
        points = world_points(indices, small.grid)
        # Percentiles, so that a spot of ghosting does not stretch the box.
        head_low, head_high = np.percentile(points, (0.05, 99.95), axis=0)
        low = np.maximum(low, head_low - margin_mm)
        high = np.minimum(high, head_high + margin_mm)
        low[2] = max(low[2], high[2] - _CROWN_TO_FORAMEN_MM - margin_mm)
    return box_grid(low, high, spacing_mm)
