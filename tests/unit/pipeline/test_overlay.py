"""Pictures: which way up, how wide, in what colour."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidVolume
from pipeline.overlay import LABEL_COLOURS, Plane, grayscale_slice, overlay_slice, overlay_slice_on, slice_count
from pipeline.report import Label
from pipeline.volume import Grid, Volume

RAS = Grid(shape=(4, 5, 6), affine=np.eye(4))
LPS = Grid(shape=(4, 5, 6), affine=np.diag([-1.0, -1.0, 1.0, 1.0]))


def _bright(grid, index):
    voxels = np.ones(grid.shape, np.float32)
    voxels[index] = 100
    return Volume(voxels=voxels, grid=grid)


@pytest.mark.parametrize(
    ("plane", "index", "shape", "row_column"),
    [
        # The bright voxel is the patient's right, front, upper corner.
        (Plane.AXIAL, 5, (5, 4), (0, 0)),
        (Plane.CORONAL, 4, (6, 4), (0, 0)),
        (Plane.SAGITTAL, 3, (6, 5), (0, 0)),
    ],
)
def test_right_front_and_top_come_first(plane, index, shape, row_column):
    picture = grayscale_slice(_bright(RAS, (3, 4, 5)), plane, index)
    assert picture.shape == shape
    assert picture.dtype == np.uint8
    assert np.unravel_index(picture.argmax(), shape) == row_column


def test_a_turned_grid_gives_the_same_picture():
    ras = grayscale_slice(_bright(RAS, (3, 1, 2)), Plane.AXIAL, 2)
    lps = grayscale_slice(_bright(LPS, (0, 3, 2)), Plane.AXIAL, 2)
    assert np.array_equal(ras, lps)


def test_thick_slices_are_stretched_to_true_aspect():
    grid = Grid(shape=(4, 5, 6), affine=np.diag([1.0, 1.0, 5.0, 1.0]))
    assert grayscale_slice(_bright(grid, (0, 0, 0)), Plane.CORONAL, 0).shape == (30, 4)
    assert [slice_count(grid, plane) for plane in Plane] == [6, 5, 4]


def test_labels_are_blended_in_their_colours():
    labels = np.zeros(RAS.shape, np.uint8)
    labels[3, 4, 2] = Label.ET
    labels[0, 0, 2] = Label.ED
    picture = overlay_slice(_bright(RAS, (1, 1, 1)), labels, Plane.AXIAL, 2, opacity=1.0)
    assert picture.shape == (5, 4, 3)
    assert tuple(picture[0, 0]) == LABEL_COLOURS[Label.ET]
    assert tuple(picture[4, 3]) == LABEL_COLOURS[Label.ED]
    assert len(set(picture[2, 2].tolist())) == 1


def test_opacity_zero_is_the_grey_picture():
    volume = _bright(RAS, (1, 1, 2))
    labels = np.full(RAS.shape, 2, np.uint8)
    grey = grayscale_slice(volume, Plane.AXIAL, 2)
    assert np.array_equal(overlay_slice(volume, labels, Plane.AXIAL, 2, opacity=0.0)[..., 0], grey)
    assert np.array_equal(overlay_slice(volume, None, Plane.AXIAL, 2)[..., 1], grey)


def test_wrong_slices_and_labels_are_refused():
    with pytest.raises(InvalidVolume, match="axial slice 6"):
        grayscale_slice(_bright(RAS, (0, 0, 0)), Plane.AXIAL, 6)
    with pytest.raises(InvalidVolume, match="labels"):
        overlay_slice(_bright(RAS, (0, 0, 0)), np.zeros((1, 1, 1), np.uint8), Plane.AXIAL, 0)


@pytest.mark.parametrize("plane", list(Plane))
def test_another_study_is_laid_on_a_slice_voxel_by_voxel(plane: Plane) -> None:
    rng = np.random.default_rng(5)
    grid = Grid(shape=(5, 6, 7), affine=np.array([[0, -2.0, 0, 9], [2.0, 0, 0, -3], [0, 0, 2.0, 4], [0, 0, 0, 1]]))
    volume = Volume(voxels=rng.random(grid.shape).astype(np.float32), grid=grid)
    labels = rng.choice(np.array([0, 1, 2, 4], np.uint8), grid.shape)
    here = overlay_slice_on(volume, labels, grid, np.eye(4), plane, 2)
    assert np.array_equal(here, overlay_slice(volume, labels, plane, 2))
    # A head that lay one voxel further up at the time of the other study.
    up = np.eye(4)
    up[2, 3] = 2.0
    if plane is Plane.AXIAL:
        assert np.array_equal(
            overlay_slice_on(volume, labels, grid, up, plane, 2), overlay_slice(volume, labels, plane, 3)
        )
    with pytest.raises(InvalidVolume, match="no"):
        overlay_slice_on(volume, labels, grid, np.eye(4), plane, 9)
    with pytest.raises(InvalidVolume, match="shape"):
        overlay_slice_on(volume, labels[1:], grid, np.eye(4), plane, 2)
