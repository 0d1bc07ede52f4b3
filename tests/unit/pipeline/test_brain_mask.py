"""The brain is found with the skull on and recognised with it off."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline.brain_mask import brain_mask
from pipeline.geometry import resample, resample_array
from pipeline.grids import analysis_grid
from pipeline.volume import Grid, SeriesRole, Volume
from tests.synthetic_head import brain_truth, grid_around, head


def _dice(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_the_brain_of_a_synthetic_t1ce_head_is_found():
    volume = head(SeriesRole.T1CE)
    on_grid = resample(volume, analysis_grid(volume, 2.0))
    mask = brain_mask(on_grid)
    assert mask.dtype == np.uint8
    assert _dice(mask, brain_truth(on_grid.grid)) > 0.9


def test_a_stripped_image_gives_its_own_body():
    grid = grid_around((90, 110, 100), (2.0, 2.0, 2.0))
    truth = brain_truth(grid)
    volume = Volume(voxels=head(SeriesRole.FLAIR, grid).voxels * truth, grid=grid)
    assert np.array_equal(brain_mask(volume), truth)


def test_an_image_of_nothing_has_no_brain():
    grid = grid_around((20, 20, 20), (2.0, 2.0, 2.0))
    assert not brain_mask(Volume(voxels=np.zeros(grid.shape), grid=grid)).any()


@pytest.mark.slow
@pytest.mark.parametrize("visit", ["s1", "s2"])
@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
def test_real_series_with_the_skull_on(shared_data, visit, contrast):

    sys.path.insert(0, str(shared_data))
    try:
        from load_case import load_case
    finally:
        sys.path.pop(0)
    case = load_case(shared_data / "mri3d" / "skull_on" / f"NEG_openmsL_p01_{visit}_skullon" / contrast)
    volume = Volume(voxels=case[contrast], grid=Grid(shape=case[contrast].shape, affine=case["affine"]))
    grid = analysis_grid(volume)
    mask = brain_mask(resample(volume, grid))
    truth = resample_array(case["brain"], volume.grid, grid, "nearest")
    assert _dice(mask, truth) > 0.9
    assert (mask & truth).sum() / truth.sum() > 0.95
