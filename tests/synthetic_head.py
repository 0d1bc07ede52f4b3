"""A head of ellipsoids, evaluated at any point: any contrast on any grid, moved by any rigid motion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.geometry import RigidTransform
from pipeline.volume import Grid, SeriesRole, Volume

_SIGNALS = {
    SeriesRole.T1: {"air": 0.02, "scalp": 1.0, "skull": 0.1, "csf": 0.2, "brain": 0.6, "blob": 0.45},
    SeriesRole.T1CE: {"air": 0.02, "scalp": 1.0, "skull": 0.12, "csf": 0.2, "brain": 0.6, "blob": 0.9},
    SeriesRole.T2: {"air": 0.02, "scalp": 0.7, "skull": 0.1, "csf": 1.0, "brain": 0.45, "blob": 0.6},
    SeriesRole.FLAIR: {"air": 0.02, "scalp": 0.6, "skull": 0.1, "csf": 0.15, "brain": 0.6, "blob": 0.8},
}
TUMOUR_CENTRE = (30.0, 25.0, 20.0)
TUMOUR_RADII = {"WT": (18.0, 16.0, 17.0), "TC": (12.0, 10.0, 11.0), "NCR": (7.0, 6.0, 7.0)}


def grid_around(shape, spacing, angles_deg=(0, 0, 0), centre=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = RigidTransform.from_parameters(angles_deg, (0, 0, 0)).rotation * spacing
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape=shape, affine=affine)


#: Each series as a scanner would plan it: other grids, thicknesses, tilts and fields of view.
GRIDS = {
    SeriesRole.T1CE: grid_around((120, 120, 90), (2.0, 2.0, 2.0)),
    SeriesRole.T1: grid_around((80, 120, 120), (2.0, 2.0, 2.0), (2, 1, 0), (0, -5, -15)),
    SeriesRole.T2: grid_around((128, 128, 30), (1.8, 1.8, 5.0), (8, 0, 0)),
    SeriesRole.FLAIR: grid_around((128, 128, 28), (1.8, 1.8, 5.5), (12, 4, 2), (3, 4, 0)),
}


def points_of(grid):
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return indices @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def inside(points, centre, radii):
    """Squared distance from `centre` in units of the ellipsoid's `radii`. Axis by axis: a sum over three is slow."""
    return sum(((points[..., axis] - centre[axis]) / radii[axis]) ** 2 for axis in range(3))


def head(role, grid=None, motion=None, seed=0):
    """The head in the contrast of `role`; `motion` takes resting points to where the patient has moved them."""
    grid = grid or GRIDS[role]
    signal = _SIGNALS[role]
    points = points_of(grid)
    if motion is not None:
        points = motion.inverse().apply(points)
    points = np.moveaxis(np.ascontiguousarray(np.moveaxis(points, -1, 0)), 0, -1)  # axis by axis in memory
    image = np.full(grid.shape, signal["air"])

    def put(centre, radii, value, softness=0.05):
        nonlocal image
        share = 1 / (1 + np.exp(np.clip((inside(points, centre, radii) - 1) / softness, -30, 30)))
        image = image * (1 - share) + value * share

    put((0, 0, 0), (78, 98, 92), signal["scalp"])
    put((0, 0, 0), (71, 91, 85), signal["skull"])
    put((0, 0, 0), (66, 86, 80), signal["csf"])
    put((0, -1, 0), (62, 82, 76), signal["brain"])
    put((0, 100, -30), (10, 18, 14), signal["scalp"])
    for side in (-1, 1):
        put((side * 12, 5, 5), (6, 28, 12), signal["csf"], 0.1)
        put((side * 12, -20, 0), (5, 14, 18), signal["csf"], 0.1)
    places = np.random.default_rng(1)
    for _ in range(14):
        put(places.uniform(-45, 45, 3), places.uniform(4, 12, 3), signal["blob"], 0.15)
    put(TUMOUR_CENTRE, TUMOUR_RADII["WT"], signal["blob"], 0.1)
    noise = np.random.default_rng(seed).normal(0, 0.03, (2, *grid.shape))
    return Volume(voxels=(1000 * np.hypot(image + noise[0], noise[1])).astype(np.float32), grid=grid)


def brain_truth(grid):
    return _brain_truth(grid.shape, grid.affine.tobytes())


@lru_cache(maxsize=16)
def _brain_truth(shape, affine):
    grid = Grid(shape=shape, affine=np.frombuffer(affine).reshape(4, 4))
    return (inside(points_of(grid), (0, 0, 0), (66, 86, 80)) < 1).astype(np.uint8)


def tumour_truth(grid):
    """float32 (3, I, J, K): WT, TC, ET as soft probabilities one voxel wide, on any grid."""
    points, width = points_of(grid), min(grid.spacing_mm)

    def share(name):
        radii = TUMOUR_RADII[name]
        outwards = (np.sqrt(inside(points, TUMOUR_CENTRE, radii)) - 1) * np.mean(radii)
        return np.clip(0.5 - outwards / width, 0, 1)

    return np.stack([share("WT"), share("TC"), np.minimum(share("TC"), 1 - share("NCR"))]).astype(np.float32)
