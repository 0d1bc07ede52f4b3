"""The series of a study as the input check looks at them: coarse, on one grid around the brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RigidTransform, resample
from pipeline.grids import bounding_box, box_grid, coarse, crop_grid, field_of_view_mm
from pipeline.volume import FloatArray, Grid, LabelArray, SeriesRole, Volume

#: Edge of the voxels: coarse enough that noise and thick slices matter little, fine enough for ventricles and cortex.
SPACING_MM = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckImages:
    """images: by role, float32 (I, J, K); brain: bool (I, J, K); both on `grid`, RAS+, of `SPACING_MM`."""

    images: Mapping[SeriesRole, FloatArray]
    brain: NDArray[np.bool_]
    grid: Grid


def check_images(
    volumes: Mapping[SeriesRole, Volume],
    transforms: Mapping[SeriesRole, RigidTransform],
    brain: LabelArray,
    brain_grid: Grid,
) -> CheckImages:
    """Block means of every series, resampled to the brain's box.

    brain: uint8 on `brain_grid`, in the space that the transforms start from.
    """
    box = bounding_box(brain) or tuple(slice(0, n) for n in brain_grid.shape)
    low, high = field_of_view_mm(crop_grid(brain_grid, box))
    grid = box_grid(low - SPACING_MM, high + SPACING_MM, SPACING_MM)
    share = resample(coarse(Volume(voxels=brain.astype(np.float32), grid=brain_grid), SPACING_MM), grid).voxels
    seen = {role: resample(coarse(volume, SPACING_MM), grid, transforms[role]) for role, volume in volumes.items()}
    return CheckImages(images={role: volume.voxels for role, volume in seen.items()}, brain=share > 0.5, grid=grid)
