"""Slices for the 2D models: crop, letter-box, scale, orientation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidVolume
from pipeline.slices import axial_slices, head_box, model_slice, model_slice_with_mask, radiological
from pipeline.volume import Grid, Volume


def head(rows: int, columns: int, box: tuple[int, int, int, int], value: float = 100.0) -> np.ndarray:
    image = np.zeros((rows, columns))
    top, bottom, left, right = box
    image[top:bottom, left:right] = value
    return image


def test_head_is_cropped_with_a_margin_of_four_percent() -> None:
    image = head(200, 200, (50, 150, 60, 120), 1.0)
    # The 3 x 3 smoothing finds the object one pixel larger on each side: 102 x 62, margin 4.
    assert head_box(image) == (45, 155, 55, 125)


def test_an_image_without_an_object_is_kept_whole() -> None:
    image = np.zeros((64, 48))
    image[3, 3] = 1.0
    assert head_box(image) == (0, 64, 0, 48)


def test_same_head_anywhere_in_the_picture_gives_the_same_slice() -> None:
    left = model_slice(head(200, 200, (20, 120, 10, 90)))
    right = model_slice(head(300, 260, (150, 250, 120, 200)))
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_aspect_ratio_is_kept_and_the_short_side_is_centred() -> None:
    out = model_slice(head(64, 32, (8, 56, 4, 28)), 64)
    filled = np.argwhere(out > 0.5)
    height, width = filled.max(0) - filled.min(0) + 1
    assert abs(height / width - 2.0) < 0.1
    assert abs(filled[:, 1].min() - (63 - filled[:, 1].max())) <= 1


def test_scale_does_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(0)
    image = head(96, 96, (10, 86, 20, 76)) * rng.uniform(0.2, 1.0, (96, 96))
    first = model_slice(image)
    assert first.dtype == np.float32
    assert first.min() == 0.0
    assert 0.9 < first.max() <= 1.0
    np.testing.assert_allclose(model_slice(image * 37.0 + 1000.0), first, atol=1e-5)


def test_a_constant_image_gives_zeros() -> None:
    assert not model_slice(np.full((20, 20), 7.0)).any()


@pytest.mark.parametrize(
    ("image", "says"),
    [(np.zeros((4, 40)), "at least 8"), (np.zeros((9, 9, 3)), "two sides"), (np.full((9, 9), np.nan), "NaN")],
)
def test_what_is_no_slice_is_refused(image: np.ndarray, says: str) -> None:
    with pytest.raises(InvalidVolume, match=says):
        model_slice(image)


def test_mask_goes_where_the_picture_goes() -> None:
    image = head(200, 160, (40, 140, 30, 110), 50.0)
    image[70:90, 40:60] = 100.0
    picture, mask = model_slice_with_mask(image, image == 100.0)
    assert mask.shape == picture.shape == (224, 224)
    np.testing.assert_array_equal(mask == 1, picture > 0.75)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_radiological_orientation_whatever_the_direction_of_the_axes(signs: tuple[int, int, int]) -> None:
    affine = np.diag([*signs, 1]).astype(float)
    array = np.zeros((3, 4, 5), np.uint8)
    right, front, top = (0 if sign < 0 else size - 1 for sign, size in zip(signs, array.shape, strict=True))
    array[right, front, top] = 1
    shown = radiological(array, affine)
    assert shown.shape == (5, 4, 3)
    assert np.argwhere(shown).tolist() == [[4, 0, 0]]  # highest slice, front row, patient's right column


def test_axial_slices_know_their_positions_and_skip_the_ends_of_the_brain() -> None:
    for direction in (1.0, -1.0):
        affine = np.array([[1.0, 0, 0, -8], [0, 1, 0, -8], [0, 0, 2 * direction, 10], [0, 0, 0, 1]])
        mask = np.zeros((16, 16, 12), np.uint8)
        mask[2:14, 2:14, 2:10] = 1
        mask[:, :, 10] = 0
        mask[7, 7, 10] = 1  # a sliver of the brain: not worth reading
        voxels = mask * np.arange(1, 13)[None, None, :]
        positions, slices = axial_slices(Volume(voxels=voxels, grid=Grid(shape=mask.shape, affine=affine)), mask, 4)
        assert slices.shape == (4, 224, 224)
        assert positions.tolist() == ([16.0, 20.0, 24.0, 28.0] if direction > 0 else [-6.0, -2.0, 2.0, 6.0])


def test_axial_slices_of_no_brain_or_an_oblique_grid_are_refused() -> None:
    volume = Volume(voxels=np.ones((9, 9, 9)), grid=Grid(shape=(9, 9, 9), affine=np.eye(4)))
    with pytest.raises(InvalidVolume, match="empty"):
        axial_slices(volume, np.zeros((9, 9, 9), np.uint8), 3)
    with pytest.raises(InvalidVolume, match="does not fit"):
        axial_slices(volume, np.ones((9, 9, 8), np.uint8), 3)
    turned = np.eye(4)
    turned[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    oblique = Volume(voxels=np.ones((9, 9, 9)), grid=Grid(shape=(9, 9, 9), affine=turned))
    with pytest.raises(InvalidVolume, match="axes"):
        axial_slices(oblique, np.ones((9, 9, 9), np.uint8), 3)
