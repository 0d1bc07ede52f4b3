"""Size of a region in three dimensions: its box, its largest diameter, its surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist
from skimage.measure import marching_cubes

from pipeline.anatomy import Extent, Point
from pipeline.grids import bounding_box, crop_grid, world_points
from pipeline.volume import Grid, LabelArray

_Points = NDArray[np.float64]
#: A binary mask's surface is a staircase, some 8 % too large; smoothed by this much it is not.
_SMOOTHING_VOXELS = 0.8
_MM2_PER_CM2 = 100.0
_LEVEL_STEPS = 6


def extent(whole: LabelArray, part: LabelArray, subject: str, grid: Grid) -> Extent:
    """Box of the non-zero voxels of `whole`; diameter and surface of those of `part`; both (I, J, K) on `grid`.

    Raises:
        ValueError: one of the two is empty.
    """
    corners = world_points(_face_centres(whole, corners=True), grid)
    start, end = largest_distance(part, grid)
    return Extent(
        low_mm=_point(corners.min(axis=0)),
        high_mm=_point(corners.max(axis=0)),
        subject=subject,
        maximum_diameter_mm=float(np.linalg.norm(end - start)),
        from_mm=_point(start),
        to_mm=_point(end),
        surface_cm2=surface_mm2(part, grid) / _MM2_PER_CM2,
    )


def largest_distance(mask: LabelArray, grid: Grid) -> tuple[_Points, _Points]:
    """The two farthest points, (3,) each in RAS+ mm, among the middles of the faces of the mask's voxels.

    Raises:
        ValueError: the mask is empty.
    """
    points = world_points(_face_centres(mask), grid)
    points = points[ConvexHull(points).vertices]
    distances = cdist(points, points)
    first, second = np.unravel_index(int(np.argmax(distances)), distances.shape)
    return points[first], points[second]


def surface(mask: LabelArray, grid: Grid) -> tuple[_Points, NDArray[np.int32]]:
    """The mask's surface by marching cubes: vertices (V, 3) in RAS+ mm and triangles (T, 3).

    The mask is smoothed by less than a voxel first, and its volume kept by the level that is followed.

    Raises:
        ValueError: the mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        raise ValueError("there is no voxel to draw a surface around")
    rim = 4
    part = np.pad((mask[box] > 0).astype(np.float32), rim)
    smooth = ndimage.gaussian_filter(part, _SMOOTHING_VOXELS)
    vertices, triangles = _volume_keeping(smooth, float(part.sum()))
    part_grid = crop_grid(crop_grid(grid, box), tuple(slice(-rim, n - rim) for n in part.shape))
    if np.linalg.det(part_grid.affine[:3, :3]) > 0:
        triangles = triangles[:, ::-1]  # normals outwards, in a frame of either hand
    return world_points(vertices, part_grid), triangles.astype(np.int32)


def _volume_keeping(smooth: NDArray[np.float32], voxels: float) -> tuple[_Points, NDArray[np.int32]]:
    """Marching cubes at the level that encloses as many voxels as there were: smoothing shrinks what is curved."""
    low, high = 0.1, 0.5
    if float(smooth.max()) <= high:
        low, high = 0.2 * float(smooth.max()), 0.9 * float(smooth.max())
    for _ in range(_LEVEL_STEPS):
        level = (low + high) / 2
        vertices, triangles, _, _ = marching_cubes(smooth, level)
        a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
        enclosed = abs(float((np.cross(a, b) * c).sum())) / 6
        low, high = (level, high) if enclosed > voxels else (low, level)
    return vertices, triangles


def surface_mm2(mask: LabelArray, grid: Grid) -> float:
    """Area of the surface around the mask's voxels, in mm2."""
    vertices, triangles = surface(mask, grid)
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _face_centres(mask: LabelArray, *, corners: bool = False) -> _Points:
    """Voxel indices (n, 3) of the middles of the faces (or the corners) of the voxels at the mask's border."""
    inside = mask > 0
    rim = np.argwhere(inside & ~ndimage.binary_erosion(inside)).astype(np.float64)
    if not len(rim):
        raise ValueError("there is no voxel to measure")
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    if corners:
        faces = np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)], dtype=np.float64)
    return (rim[:, None, :] + 0.5 * faces).reshape(-1, 3)


def _point(values: _Points) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
