"""From probabilities to labels: nesting, resampling, small pieces, plausibility."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.intensity import percentile_scale, zscore_in_mask
from pipeline.label_map import checked_regions, drop_small_components, implausibilities, labels_on_grid
from pipeline.study_findings import UnusableAnswer
from tests.synthetic_head import grid_around

GRID = grid_around((12, 12, 12), (1.0, 1.0, 1.0))


def _probabilities():
    regions = np.zeros((3, *GRID.shape), np.float32)
    regions[0, 2:10, 2:10, 2:10] = 1
    regions[1, 4:8, 4:8, 4:8] = 1
    regions[2, 5:7, 5:7, 5:7] = 1
    return regions


def test_regions_become_disjoint_labels():
    labels = labels_on_grid(_probabilities(), GRID, GRID)
    assert [int((labels == label).sum()) for label in (1, 2, 4)] == [64 - 8, 512 - 64, 8]


def test_an_enhancing_voxel_outside_the_whole_tumour_becomes_part_of_it():
    regions = _probabilities()
    regions[2, 10, 5, 5] = 1
    assert labels_on_grid(regions, GRID, GRID)[10, 5, 5] == 4


def test_labels_land_in_the_same_place_on_another_grid():
    # 8 mm are 5 or 6 slices of 1.5 mm: no closer than a tenth.
    onto = grid_around((30, 20, 9), (0.5, 0.8, 1.5), (0, 0, 10), (1, 0, 0))
    labels = labels_on_grid(_probabilities(), GRID, onto)
    assert (labels > 0).sum() * onto.voxel_volume_ml == pytest.approx(0.512, rel=0.1)
    outside = grid_around((5, 5, 5), (1.0, 1.0, 1.0), centre=(90, 0, 0))
    assert not labels_on_grid(_probabilities(), GRID, outside).any()


def test_small_pieces_go_and_large_ones_stay():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:5, 1:5, 1:5] = 2
    labels[9, 9, 9] = 4
    kept = drop_small_components(labels, GRID, smallest_ml=0.05)
    assert (kept > 0).sum() == 64
    assert labels[9, 9, 9] == 4


def test_wrong_answers_are_refused():
    with pytest.raises(UnusableAnswer, match="shape"):
        checked_regions(np.zeros((3, 2, 2, 2), np.float32), GRID)
    with pytest.raises(UnusableAnswer, match="probabilities"):
        checked_regions(_probabilities() * 7, GRID)


def test_a_tumour_as_large_as_the_brain_or_outside_it_is_flagged():
    labels = np.full(GRID.shape, 2, np.uint8)
    brain = np.zeros(GRID.shape, np.uint8)
    brain[:6] = 1
    codes = {flag.code for flag in implausibilities(labels, GRID, brain, GRID)}
    assert codes == {"segmentation-implausible", "segmentation-outside-brain"}
    assert implausibilities(np.zeros(GRID.shape, np.uint8), GRID, brain, GRID) == ()


def test_zscore_is_zero_outside_and_standard_inside():
    voxels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    mask = voxels >= 4
    scored = zscore_in_mask(voxels, mask)
    assert (scored[~mask] == 0).all()
    assert scored[mask].mean() == pytest.approx(0, abs=1e-6)
    assert scored[mask].std() == pytest.approx(1, abs=1e-6)
    assert not zscore_in_mask(np.ones((2, 2, 2), np.float32), mask).any()


def test_percentiles_go_to_zero_and_one():
    voxels = np.arange(101, dtype=np.float32).reshape(101, 1, 1)
    scaled = percentile_scale(voxels, low=10, high=90)
    assert scaled[[0, 10, 50, 90, 100], 0, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert not percentile_scale(np.ones((2, 2, 2), np.float32)).any()
