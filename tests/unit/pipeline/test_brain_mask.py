"""The brain is found with the skull on and recognised with it off."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline import brain_mask as module
from pipeline.brain_mask import MASK_ORDER, best_brain_mask, brain_mask
from pipeline.geometry import resample, resample_array
from pipeline.grids import analysis_grid
from pipeline.models.training.volume_stacks import load_stack
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


def _volumes(*sizes_ml):
    """Volumes whose only content is the size of the brain that will be found in them."""
    grid = grid_around((1, 1, 1), (1.0, 1.0, 1.0))
    return [Volume(voxels=np.full((1, 1, 1), size), grid=grid) for size in sizes_ml]


@pytest.fixture
def told(monkeypatch):
    """A brain mask that is as large as the volume says, 100 mL larger where the surface halts earlier."""
    asked = []

    def mask(volume, sensitivity=0.7):
        asked.append((float(volume.voxels[0, 0, 0]), sensitivity))
        size_ml = volume.voxels[0, 0, 0] + (100 if sensitivity > 0.7 else 0)
        return np.ones(round(size_ml / volume.grid.voxel_volume_ml), np.uint8)

    monkeypatch.setattr(module, "brain_mask", mask)
    return asked


def test_the_first_plausible_brain_is_taken(told):
    found = best_brain_mask(iter(_volumes(1500, 20)))
    assert len(found) == 1500_000
    assert told == [(1500.0, 0.7)]
    assert len(best_brain_mask(_volumes(20, 3100, 1400))) == 1400_000


def test_where_none_is_plausible_each_is_tried_once_more(told):
    assert len(best_brain_mask(_volumes(20, 650, 30))) == 750_000
    assert told == [(20.0, 0.7), (650.0, 0.7), (30.0, 0.7), (20.0, 0.8), (650.0, 0.8)]


def test_of_implausible_brains_the_nearest_by_factor_is_taken(told):
    assert len(best_brain_mask(_volumes(20, 2200))) == 2200_000
    # A mask of 20 mL is fewer millilitres away from a brain's size, but shows next to nothing of the brain.
    assert len(best_brain_mask(_volumes(20, 3400))) == 3400_000
    assert len(best_brain_mask(_volumes(300, 5400))) == 400_000


def test_without_a_series_there_is_nothing_to_find():
    with pytest.raises(ValueError, match="no series"):
        best_brain_mask([])


@pytest.mark.slow
def test_a_real_head_after_contrast_agent_is_found_by_its_flair(shared_data):
    """The surface leaks through the skull of most thick-slice T1CE series, the reference of a study."""
    volumes, tumour = load_stack(shared_data / "lgg_stacks" / "train" / "TCGA_DU_5853_19950823")
    grid = analysis_grid(volumes[SeriesRole.T1CE])
    found = best_brain_mask(resample(volumes[role], grid) for role in MASK_ORDER if role in volumes)
    assert 1200 < found.sum() * grid.voxel_volume_ml < 2000
    inside = resample_array(tumour.astype(np.uint8), volumes[SeriesRole.FLAIR].grid, grid, "nearest") > 0
    assert (found[inside] > 0).mean() > 0.9
