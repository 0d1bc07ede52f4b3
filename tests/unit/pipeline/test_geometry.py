"""Transforms, sign changes and resampling, on arrays whose answer can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidVolume
from pipeline.geometry import (
    RigidTransform,
    from_sitk,
    resample,
    resample_array,
    to_sitk,
    transform_from_sitk,
    transform_to_sitk,
)
from pipeline.grids import analysis_grid, bounding_box, box_grid, coarse, crop_grid, field_of_view_mm, world_points
from pipeline.volume import Grid, SeriesRole, Volume
from tests.synthetic_head import grid_around, head


def _ramp(grid, direction):
    """A volume whose value at each voxel is its position along `direction`, in mm."""
    indices = np.argwhere(np.ones(grid.shape))
    values = world_points(indices, grid) @ np.array(direction, float)
    return Volume(voxels=values.reshape(grid.shape).astype(np.float32), grid=grid)


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = RigidTransform.from_parameters((0, 0, 90), (1, 2, 3))
    assert turn.apply(np.array([[10.0, 0, 0]])) == pytest.approx(np.array([[1, 12, 3]]))
    assert turn.rotation_deg == pytest.approx(90)


def test_a_rotation_about_a_centre_leaves_the_centre_in_place():
    turn = RigidTransform.from_parameters((10, 20, 30), (0, 0, 0), (5, 6, 7))
    assert turn.displacement_mm(np.array([5.0, 6, 7])) == pytest.approx(0, abs=1e-12)


def test_inverse_and_composition_give_the_identity():
    move = RigidTransform.from_parameters((10, -20, 30), (4, 5, -6), (1, 2, 3))
    both = move.after(move.inverse())
    assert both.rotation == pytest.approx(np.eye(3), abs=1e-12)
    assert both.translation == pytest.approx(np.zeros(3), abs=1e-12)


@pytest.mark.parametrize("matrix", [np.eye(3) * 2, np.diag([1.0, 1, -1]), np.full((3, 3), np.nan)])
def test_only_rotations_are_accepted(matrix):
    with pytest.raises(InvalidVolume):
        RigidTransform(rotation=matrix, translation=np.zeros(3))


def test_sitk_puts_every_voxel_where_the_affine_does_with_x_and_y_turned_round():
    grid = grid_around((4, 5, 6), (1.0, 2.0, 3.0), (10, 20, 30), (7, 8, 9))
    array = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    image = to_sitk(array, grid)
    ras = grid.affine @ (1, 2, 3, 1)
    assert image.TransformIndexToPhysicalPoint((1, 2, 3)) == pytest.approx((-ras[0], -ras[1], ras[2]))
    assert image.GetPixel(1, 2, 3) == array[1, 2, 3]
    assert np.array_equal(from_sitk(image), array)


def test_a_transform_survives_the_way_to_sitk_and_back():
    move = RigidTransform.from_parameters((10, -20, 30), (4, 5, -6))
    affine = transform_to_sitk(move)
    point = np.array([11.0, -12, 13])
    lps = affine.TransformPoint((-11.0, 12.0, 13.0))
    assert move.apply(point) == pytest.approx((-lps[0], -lps[1], lps[2]))
    back = transform_from_sitk(affine.GetMatrix(), affine.GetTranslation(), affine.GetCenter())
    assert back.rotation == pytest.approx(move.rotation)
    assert back.translation == pytest.approx(move.translation)


def test_linear_resampling_is_exact_on_a_ramp_between_any_two_grids():
    source = grid_around((30, 30, 30), (2.0, 2.0, 2.0), (5, -7, 9))
    onto = grid_around((10, 12, 8), (1.5, 1.0, 3.0), (-20, 3, 11), (2, 1, 0))
    ramp = (0.3, -1.1, 0.7)
    sampled = resample(_ramp(source, ramp), onto)
    assert sampled.voxels == pytest.approx(_ramp(onto, ramp).voxels, abs=1e-3)


def test_a_transform_takes_reference_points_to_points_of_the_resampled_series():
    grid = grid_around((20, 20, 20), (2.0, 2.0, 2.0))
    onto = grid_around((5, 5, 5), (1.0, 1.0, 1.0))
    shift = RigidTransform(rotation=np.eye(3), translation=np.array([3.0, 0, 0]))
    sampled = resample(_ramp(grid, (1, 0, 0)), onto, shift)
    assert sampled.voxels[2, 2, 2] == pytest.approx(3.0)


def test_outside_the_field_of_view_is_fill_and_nearest_keeps_labels():
    grid = grid_around((3, 3, 3), (1.0, 1.0, 1.0))
    labels = np.full((3, 3, 3), 4, np.uint8)
    sampled = resample_array(labels, grid, grid_around((9, 3, 3), (1.0, 1.0, 1.0)), "nearest")
    assert sampled.dtype == np.uint8
    assert sampled[:, 1, 1].tolist() == [0, 0, 0, 4, 4, 4, 0, 0, 0]


def test_the_same_grid_gives_a_copy():
    grid = grid_around((3, 3, 3), (1.0, 1.0, 1.0))
    array = np.ones((3, 3, 3), np.float32)
    copy = resample_array(array, grid, grid)
    copy[0, 0, 0] = 5
    assert array[0, 0, 0] == 1


def test_box_grid_covers_the_box_and_is_axis_aligned():
    grid = box_grid(np.array([-10.0, 0, 5]), np.array([10.0, 4, 8]), 2.0)
    assert grid.shape == (10, 2, 2)
    low, high = field_of_view_mm(grid)
    assert low == pytest.approx((-10, 0, 4.5))
    assert high == pytest.approx((10, 4, 8.5))


def test_crop_keeps_voxels_in_place():
    grid = grid_around((10, 10, 10), (1.0, 2.0, 3.0), (10, 20, 30))
    mask = np.zeros(grid.shape, np.uint8)
    mask[3:5, 4, 6:9] = 1
    box = bounding_box(mask)
    assert box == (slice(3, 5), slice(4, 5), slice(6, 9))
    cropped = crop_grid(grid, box)
    assert cropped.shape == (2, 1, 3)
    assert cropped.affine @ (0, 0, 0, 1) == pytest.approx(grid.affine @ (3, 4, 6, 1))
    assert bounding_box(np.zeros((2, 2, 2))) is None


def test_block_means_stay_in_place():
    volume = _ramp(grid_around((20, 20, 7), (1.0, 1.0, 5.0), (4, 5, 6)), (1, 1, 1))
    small = coarse(volume, 4.0)
    assert small.grid.shape == (5, 5, 7)
    assert small.voxels == pytest.approx(_ramp(small.grid, (1, 1, 1)).voxels, abs=1e-3)


def test_the_analysis_grid_covers_the_head_and_not_the_room():
    volume = head(SeriesRole.T2, grid_around((110, 130, 110), (2.5, 2.5, 2.5), (5, 0, 3)))
    grid = analysis_grid(volume, 1.0)
    low, high = field_of_view_mm(grid)
    assert low == pytest.approx((-88, -108, -102), abs=8)
    assert high == pytest.approx((88, 118, 102), abs=8)
    assert np.array_equal(grid.affine[:3, :3], np.eye(3))


def test_an_empty_image_is_covered_whole():
    volume = Volume(voxels=np.zeros((10, 10, 10)), grid=Grid(shape=(10, 10, 10), affine=np.eye(4)))
    assert analysis_grid(volume).shape == (10, 10, 10)
