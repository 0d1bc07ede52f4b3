"""The series of a study as people look at them: each on the reference's grid, in 256 greys, and the brain alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RigidTransform, resample, resample_array
from pipeline.study_space import StudySpace
from pipeline.volume import FloatArray, Grid, SeriesRole, Volume

#: Name of the volume that shows the reference series inside the brain and nothing outside it.
BRAIN = "BRAIN"
#: Shares of the voxels that become black and white: what lies outside is noise or a vessel's glare.
_BLACK, _WHITE = 0.1, 99.9


def view_volumes(
    volumes: Mapping[SeriesRole, Volume], space: StudySpace, reference: SeriesRole, onto: Grid
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Give each volume's name (a role, or BRAIN) and its greys, uint8 (I, J, K) on `onto`, one after the other.

    volumes: native. onto: the reference series' own grid. A role without a place in `space` is left out. In BRAIN 0 is
    outside, 1 to 255 inside.
    """
    for role, matrix in space.to_series.items():
        if role not in volumes:
            continue
        transform = RigidTransform(rotation=matrix[:3, :3], translation=matrix[:3, 3])
        laid = resample(volumes[role], onto, None if role is reference else transform)
        greys = _greys(laid.voxels)
        yield role.value, greys
        if role is reference:
            share = resample_array(space.brain.astype(np.float32), space.grid, onto)
            yield BRAIN, np.where(share > 0.5, np.maximum(greys, 1), 0).astype(np.uint8)


def _greys(voxels: FloatArray) -> NDArray[np.uint8]:
    low, high = (float(value) for value in np.percentile(voxels, (_BLACK, _WHITE)))
    scaled: FloatArray = np.clip((voxels - low) / max(high - low, 1e-6), 0, 1) * 255
    return scaled.round().astype(np.uint8)
