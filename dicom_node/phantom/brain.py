"""The brain's surfaces: cortex, white matter, deep grey nuclei, ventricles and vessels, on the standard head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicom_node.phantom.fields import Point, WaveNoise, add_ellipsoid, coordinates_mm, ellipsoid, generator
from pipeline.volume import FloatArray, Grid

FOLD_MM = 20.0
FOLD_DEPTH_MM = 15.0
CORTEX_MM = 3.0
#: Outside everything, in mm.
FAR = np.float32(-50.0)

_VENTRICLES: tuple[tuple[Point, Point], ...] = (
    ((9.0, 12.0, 14.0), (4.5, 16.0, 6.0)),
    ((9.5, -10.0, 18.0), (4.5, 20.0, 5.5)),
    ((17.0, -34.0, 11.0), (6.0, 10.0, 8.0)),
    ((23.0, -48.0, 6.0), (4.5, 15.0, 5.0)),
    ((29.0, -14.0, -14.0), (3.5, 14.0, 4.0)),
)
_MIDLINE_VENTRICLES: tuple[tuple[Point, Point], ...] = (
    ((0.0, -4.0, 2.0), (2.0, 13.0, 9.0)),
    ((0.0, -40.0, -30.0), (6.0, 5.0, 8.0)),
)
_NUCLEI: tuple[tuple[Point, Point], ...] = (
    ((11.0, -15.0, 5.0), (8.0, 14.0, 8.5)),
    ((25.0, 4.0, 2.0), (6.5, 16.0, 10.0)),
    ((14.5, 16.0, 9.0), (5.0, 10.0, 9.0)),
    ((16.5, -4.0, 19.0), (3.0, 14.0, 4.5)),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainNoise:
    """What makes one brain differ from another."""

    fold: WaveNoise
    wobble: WaveNoise
    folia: WaveNoise
    branch: WaveNoise

    @classmethod
    def draw(cls, seed: int) -> BrainNoise:
        """The folds of the brain of this seed."""
        rng = generator(seed, "brain")
        return cls(
            fold=WaveNoise.draw(rng, FOLD_MM, 40),
            wobble=WaveNoise.draw(rng, 45.0, 20),
            folia=WaveNoise.draw(rng, 8.0, 24, squash=(0.3, 0.5, 1.0)),
            branch=WaveNoise.draw(rng, 38.0, 24),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainFields:
    """Signed distances in mm, positive inside, float32 (I, J, K).

    outline: brain with sulci and ventricles filled. matter: grey or white matter, ventricles not cut out.
    tissue: the same with the ventricles cut out. white: white matter.
    """

    outline: FloatArray
    matter: FloatArray
    tissue: FloatArray
    white: FloatArray
    deep_grey: FloatArray
    ventricles: FloatArray
    vessels: FloatArray


def _both_sides(field: FloatArray, grid: Grid, parts: tuple[tuple[Point, Point], ...], scale: float = 1.0) -> None:
    for (x, y, z), (a, b, c) in parts:
        for side in (-x, x):
            add_ellipsoid(field, grid, (side, y, z), (a * scale, b, c * scale))


def brain_fields(grid: Grid, noise: BrainNoise, ventricle_scale: float) -> BrainFields:
    """The brain on `grid`, whose affine leads to the standard head's mm."""
    at = coordinates_mm(grid)
    x, y, z = at
    fold = noise.fold.on(grid)
    wobble = noise.wobble.on(grid)
    # The frontal lobes are narrower than the parietal ones.
    tapered = (x * (1 + np.float32(0.0016) * (y + 20)), y, z)
    cerebrum = ellipsoid(tapered, (0.0, 0.0, 8.0), (66.0, 84.0, 62.0))
    cerebrum = np.minimum(cerebrum, z + np.float32(18) + np.float32(0.12) * y)
    _both_sides(cerebrum, grid, (((42.0, 6.0, -20.0), (21.0, 34.0, 19.0)),))
    cerebellum = np.full(grid.shape, FAR, np.float32)
    _both_sides(cerebellum, grid, (((21.0, -50.0, -37.0), (29.0, 28.0, 20.0)),))
    stem = np.full(grid.shape, FAR, np.float32)
    add_ellipsoid(stem, grid, (0.0, -22.0, -34.0), (15.0, 14.0, 26.0))
    add_ellipsoid(stem, grid, (0.0, -30.0, -80.0), (8.0, 8.0, 50.0))
    cerebrum += np.float32(0.9) * wobble
    outline = np.maximum(np.maximum(cerebrum, cerebellum), stem)

    # Sulci are the surfaces where the fold noise is zero, as deep as FOLD_DEPTH_MM; |noise| / |gradient| is a distance.
    to_wall = np.abs(fold) * np.float32(FOLD_MM / (2 * np.pi))
    sulcus = to_wall + np.maximum(cerebrum - np.float32(FOLD_DEPTH_MM), 0) * np.float32(0.8)
    callosum = ellipsoid(at, (0.0, -4.0, 6.0), (30.0, 42.0, 19.0))
    fissure = np.abs(x - wobble) + np.maximum(callosum + 2, 0)
    # The Sylvian fissure: a sheet between the temporal lobe and the rest, from the side inwards.
    sylvian = np.abs(z + 4 - np.float32(0.6) * y - 3 * wobble) + np.maximum(np.float32(30) - np.abs(x), 0)
    sylvian = sylvian + np.maximum(np.abs(y - 8) - 30, 0)
    cortex = np.minimum(np.minimum(cerebrum, sulcus), np.minimum(fissure, sylvian))
    folia = np.abs(noise.folia.on(grid)) * np.float32(8 / (2 * np.pi)) + np.maximum(cerebellum - 10, 0)
    leaf = np.minimum(cerebellum, folia + np.float32(0.4))
    matter = np.maximum(np.maximum(cortex - np.float32(0.7), leaf - np.float32(0.4)), stem)
    white = np.maximum(np.maximum(cortex - np.float32(0.7 + CORTEX_MM), leaf - np.float32(2.0)), stem)

    deep_grey = np.full(grid.shape, FAR, np.float32)
    _both_sides(deep_grey, grid, _NUCLEI)
    ventricles = np.full(grid.shape, FAR, np.float32)
    _both_sides(ventricles, grid, _VENTRICLES, ventricle_scale)
    for centre, half_axes in _MIDLINE_VENTRICLES:
        add_ellipsoid(ventricles, grid, centre, half_axes)

    # Vessels run where two independent noises vanish together: curves along the sulci. Plus the sagittal sinus.
    branch = noise.branch.on(grid) * np.float32(38 / (2 * np.pi))
    vessels = np.float32(1.1) - np.hypot(to_wall, branch) - np.maximum(np.abs(cerebrum - 4) - 6, 0)
    sinus = np.float32(3.5) - np.hypot(x, cerebrum + np.float32(2.0)) - np.maximum(np.float32(10) - z, 0)
    return BrainFields(
        outline=outline,
        matter=matter,
        tissue=np.minimum(matter, -ventricles),
        white=white,
        deep_grey=deep_grey,
        ventricles=ventricles,
        vessels=np.maximum(vessels, sinus),
    )
