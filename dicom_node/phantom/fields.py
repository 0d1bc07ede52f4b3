"""Smooth scalar fields in patient space that can be evaluated on any grid, at any resolution.

A phantom made of such fields has no native resolution: the image is drawn on one lattice, the truth is read on
another, and both show the same head. Distances are in mm and positive inside a shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import FloatArray, Grid

Coordinates = tuple[FloatArray, FloatArray, FloatArray]
Point = tuple[float, float, float]


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers for one purpose: drawing more for one purpose never changes another's."""
    return np.random.default_rng([seed, *(crc32(name.encode()) for name in names)])


def moved(grid: Grid, matrix: NDArray[np.float64]) -> Grid:
    """The same lattice seen through `matrix` (4, 4), RAS mm to RAS mm."""
    return Grid(shape=grid.shape, affine=matrix @ grid.affine)


def slabs(grid: Grid, voxels: int = 600_000) -> Iterator[tuple[slice, Grid]]:
    """The grid in runs of planes along its first axis, each of about `voxels`: small arrays stay in the cache."""
    _, j, k = grid.shape
    thick = max(1, voxels // (j * k))
    for start in range(0, grid.shape[0], thick):
        stop = min(start + thick, grid.shape[0])
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, 0] * start
        yield slice(start, stop), Grid(shape=(stop - start, j, k), affine=affine)


def coordinates_mm(grid: Grid) -> Coordinates:
    """x, y, z of every voxel centre in RAS mm, each broadcastable to (I, J, K), float32.

    An axis that does not change a coordinate keeps length 1 there: on an axis-aligned grid the three are vectors.
    """
    steps = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    found: list[FloatArray] = []
    for row in grid.affine[:3]:
        value = np.full((1, 1, 1), row[3])
        for step, slope in zip(steps, row[:3], strict=True):
            if abs(slope) > 1e-9:
                value = value + step * slope
        found.append(value.astype(np.float32))
    return found[0], found[1], found[2]


def window(grid: Grid, centre_mm: Point, reach_mm: float) -> tuple[tuple[slice, slice, slice], Grid] | None:
    """The part of `grid` that holds the ball of `reach_mm` about `centre_mm`; None where they do not meet."""
    inverse = np.linalg.inv(grid.affine)
    centre = inverse[:3, :3] @ np.asarray(centre_mm) + inverse[:3, 3]
    reach = np.linalg.norm(inverse[:3, :3], axis=1) * reach_mm
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, grid.shape).astype(int)
    if (high <= low).any():
        return None
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    shape = (i.stop - i.start, j.stop - j.start, k.stop - k.start)
    return (i, j, k), Grid(shape=shape, affine=affine)


def ellipsoid(at: Coordinates, centre_mm: Point, half_axes_mm: Point) -> FloatArray:
    """Signed distance to an ellipsoid's surface in mm, to first order (exact for a ball)."""
    squares = [((c - m) / np.float32(a)) ** 2 for c, m, a in zip(at, centre_mm, half_axes_mm, strict=True)]
    level = np.sqrt(squares[0] + squares[1] + squares[2])
    slope = sum(s / np.float32(a * a) for s, a in zip(squares, half_axes_mm, strict=True))
    distance: FloatArray = (1 - level) * (level / np.sqrt(slope + np.float32(1e-9)))
    return distance


def add_ellipsoid(field: FloatArray, grid: Grid, centre_mm: Point, half_axes_mm: Point, reach_mm: float = 3.0) -> None:
    """Unite `field` (I, J, K) on `grid`, in place, with an ellipsoid; only within `reach_mm` of it."""
    part = window(grid, centre_mm, max(half_axes_mm) + reach_mm)
    if part is not None:
        where, box = part
        np.maximum(field[where], ellipsoid(coordinates_mm(box), centre_mm, half_axes_mm), out=field[where])


@dataclass(frozen=True, kw_only=True, eq=False)
class WaveNoise:
    """Gaussian-like noise of unit variance: a sum of plane waves of about one wavelength.

    waves: float64 (W, 3), rad/mm. phases: float64 (W,).
    """

    waves: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, wavelength_mm: float, count: int = 32, squash: Point = (1.0, 1.0, 1.0)
    ) -> WaveNoise:
        """`count` waves of random direction; `squash` multiplies their x, y, z components (0 makes sheets)."""
        direction = rng.standard_normal((count, 3)) * np.asarray(squash)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        size = 2 * np.pi / wavelength_mm * rng.uniform(0.75, 1.3, count)
        return cls(waves=direction * size[:, None], phases=rng.uniform(0, 2 * np.pi, count))

    def on(self, grid: Grid) -> FloatArray:
        """The noise at every voxel centre, float32 (I, J, K).

        A plane wave on a lattice is the product of three vectors, so the sum is one matrix product.
        """
        turns = self.waves @ grid.affine[:3, :3]
        start = self.waves @ grid.affine[:3, 3] + self.phases
        i, j, k = (np.exp(1j * np.outer(np.arange(n), turns[:, axis])) for axis, n in enumerate(grid.shape))
        plane = (i[:, None, :] * j[None, :, :]).reshape(-1, len(start))
        depth = k * np.exp(1j * start)
        left = np.concatenate([plane.real, -plane.imag], axis=1).astype(np.float32)
        right = np.concatenate([depth.real, depth.imag], axis=1).astype(np.float32)
        scale = np.float32(np.sqrt(2 / len(start)))
        return (left @ right.T).reshape(grid.shape) * scale
