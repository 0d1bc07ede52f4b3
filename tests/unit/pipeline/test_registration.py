"""Registration finds known motions between series of other contrast, grid, thickness and field of view."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pipeline.errors import RegistrationFailed
from pipeline.geometry import RigidTransform
from pipeline.registration import Registration, head_overlap, register_rigid
from pipeline.volume import SeriesRole, Volume
from tests.synthetic_head import GRIDS, grid_around, head

REFERENCE = head(SeriesRole.T1CE)
#: Points all over the brain: the residual is the worst of them.
BRAIN_POINTS = np.array([(0, 0, 0), (60, 0, 0), (-60, 0, 0), (0, 80, 0), (0, -80, 0), (0, 0, 70), (0, 0, -60)], float)
MOVING_ROLES = (SeriesRole.T1, SeriesRole.T2, SeriesRole.FLAIR)


def _residual(found: RigidTransform, motion: RigidTransform) -> tuple[float, float]:
    distance = np.linalg.norm(found.apply(BRAIN_POINTS) - motion.apply(BRAIN_POINTS), axis=1).max()
    return float(distance), found.after(motion.inverse()).rotation_deg


def moving_head(seed: int) -> tuple[RigidTransform, Volume]:
    """A motion and a head that moved so."""
    rng = np.random.default_rng(100 + seed)
    motion = RigidTransform.from_parameters(rng.uniform(-6, 6, 3), rng.uniform(-10, 10, 3))
    return motion, head(MOVING_ROLES[seed % 3], motion=motion, seed=seed)


@cache
def known_motion(seed: int) -> tuple[RigidTransform, Registration]:
    """A motion and what registration finds of it."""
    motion, moving = moving_head(seed)
    return motion, register_rigid(REFERENCE, moving)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_residual_is_under_one_millimetre_and_one_degree(seed):
    motion, found = known_motion(seed)
    residual_mm, residual_deg = _residual(found.transform, motion)
    assert residual_mm < 1.0
    assert residual_deg < 1.0
    assert found.similarity_after > found.similarity_before
    assert found.overlap > 0.9


def test_the_same_input_gives_the_same_transform():
    first, second = known_motion(0)[1], register_rigid(REFERENCE, moving_head(0)[1])
    assert np.array_equal(first.transform.rotation, second.transform.rotation)
    assert first.similarity_after == second.similarity_after


def test_series_in_another_frame_of_reference_are_found_from_their_centres():
    motion = RigidTransform.from_parameters((3, -2, 4), (120, -80, 150))
    grid = GRIDS[SeriesRole.T1]
    moved = grid_around(grid.shape, grid.spacing_mm, (2, 1, 0), (120, -85, 135))
    found = register_rigid(REFERENCE, head(SeriesRole.T1, moved, motion))
    assert _residual(found.transform, motion)[0] < 1.0


def test_a_series_without_a_head_is_refused():
    grid = GRIDS[SeriesRole.T2]
    flat = Volume(voxels=np.full(grid.shape, 7.0), grid=grid)
    with pytest.raises(RegistrationFailed, match="no head"):
        register_rigid(REFERENCE, flat)


def test_a_series_of_noise_is_refused():
    grid = GRIDS[SeriesRole.T2]
    noise = np.random.default_rng(0).normal(100, 10, grid.shape)
    with pytest.raises(RegistrationFailed):
        register_rigid(REFERENCE, Volume(voxels=noise, grid=grid))


def test_overlap_of_a_head_with_itself_is_one_and_falls_with_distance():
    far = RigidTransform(rotation=np.eye(3), translation=np.array([100.0, 0, 0]))
    assert head_overlap(REFERENCE, REFERENCE, RigidTransform.identity()) > 0.99
    assert head_overlap(REFERENCE, REFERENCE, far) < 0.5
