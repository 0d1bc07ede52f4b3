"""The interval of a volume: exact on ramps, wide where the model doubts, none where it knows no doubt."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.label_map import labels_on_grid
from pipeline.measurements import measure
from pipeline.report import Measurement, ModelIdentity, Region, Segmentation
from pipeline.uncertainty import overlooked, volume_ranges, with_ranges
from tests.synthetic_head import grid_around

GRID = grid_around((20, 20, 20), (1.0, 1.0, 1.0))
MODEL = ModelIdentity(name="m", version="1", task="segmentation", weights_sha256="0" * 64)


def _ramp():
    """A slab of 10 x 10 voxels in each plane whose probability falls by a tenth (WT) or a fifth (TC, ET) a voxel."""
    regions = np.zeros((3, *GRID.shape), np.float32)
    for k in range(12):
        regions[0, 5:15, 5:15, 4 + k] = 1.05 - 0.1 * k if k < 11 else 0
        regions[1:, 5:15, 5:15, 4 + k] = max(1.05 - 0.2 * k, 0)
    return np.clip(regions, 0, 1)


def test_a_ramp_has_the_volumes_of_its_cuts():
    probabilities = _ramp()
    labels = labels_on_grid(probabilities, GRID, GRID)
    ranges = volume_ranges(probabilities, GRID, labels, GRID)
    # WT: 1.05 and 0.95 lie above 0.9, down to 0.55 above one half, down to 0.15 above 0.1; 0.1 mL a plane.
    assert (ranges[Region.WT].low_ml, ranges[Region.WT].high_ml) == pytest.approx((0.2, 1.0))
    assert (ranges[Region.ET].low_ml, ranges[Region.ET].high_ml) == pytest.approx((0.1, 0.5))
    measured, _ = measure(Segmentation(labels=labels, grid=GRID, model=MODEL))
    whole = next(m for m in with_ranges(measured, ranges) if m.subject == "WT" and m.lesion is None)
    assert (whole.low, whole.value, whole.high) == pytest.approx((0.2, 0.6, 1.0))


def test_only_total_volumes_of_regions_get_an_interval():
    probabilities = _ramp()
    labels = labels_on_grid(probabilities, GRID, GRID)
    measured, _ = measure(Segmentation(labels=labels, grid=GRID, model=MODEL))
    ranged = with_ranges(measured, volume_ranges(probabilities, GRID, labels, GRID))
    assert {(m.subject, m.quantity, m.lesion) for m in ranged if m.low is not None} == {
        (region.value, "volume", None) for region in Region
    }
    assert all(m.low <= m.value <= m.high for m in ranged if m.low is not None)


def test_the_interval_of_a_common_threshold_is_its_quantiles():
    """The rule's claim: with one uniform number deciding all voxels, 80 % of the volumes lie in the interval."""
    probabilities = np.zeros((3, *GRID.shape), np.float32)
    probabilities[0] = np.linspace(0, 1, 8000, dtype=np.float32).reshape(GRID.shape)
    found = volume_ranges(probabilities, GRID, labels_on_grid(probabilities, GRID, GRID), GRID)[Region.WT]
    volumes = np.array([np.count_nonzero(probabilities[0] > u) / 1000 for u in (np.arange(1000) + 0.5) / 1000])
    inside = (volumes >= found.low_ml) & (volumes <= found.high_ml)
    assert inside.mean() == pytest.approx(0.8, abs=0.002)
    assert volumes.mean() == pytest.approx(probabilities[0].sum() / 1000, rel=0.001)


def test_on_another_grid_the_volume_lies_in_its_interval():
    onto = grid_around((40, 42, 18), (0.6, 0.55, 1.2), (4, 3, 2))
    probabilities = _ramp()
    labels = labels_on_grid(probabilities, GRID, onto)
    found = volume_ranges(probabilities, GRID, labels, onto)[Region.WT]
    volume = np.count_nonzero(labels) * onto.voxel_volume_ml
    assert found.low_ml <= volume <= found.high_ml
    # Linear sampling between two planes moves a cut by up to a plane of 0.1 mL.
    assert found.low_ml == pytest.approx(0.2, abs=0.12)
    assert found.high_ml == pytest.approx(1.0, abs=0.12)


def test_pieces_too_small_to_be_kept_do_not_count():
    probabilities = _ramp()
    probabilities[0, 0, 0, 0] = 0.95
    ranges = volume_ranges(probabilities, GRID, labels_on_grid(probabilities, GRID, GRID), GRID)
    assert ranges[Region.WT].high_ml == pytest.approx(1.0)


def test_bare_labels_have_no_interval():
    probabilities = (_ramp() > 0.5).astype(np.float32)
    assert volume_ranges(probabilities, GRID, labels_on_grid(probabilities, GRID, GRID), GRID) == {}


def test_a_faint_tumour_that_was_not_segmented_is_flagged():
    faint = np.zeros((3, *GRID.shape), np.float32)
    faint[0, 4:16, 4:16, 4:16] = 0.3
    labels = labels_on_grid(faint, GRID, GRID)
    assert not labels.any()
    (flag,) = overlooked(labels, volume_ranges(faint, GRID, labels, GRID))
    assert flag.code == "segmentation-uncertain"
    assert "1.7 mL" in flag.text
    nothing = np.zeros((3, *GRID.shape), np.float32)
    nothing[0] = 0.01
    assert overlooked(labels, volume_ranges(nothing, GRID, labels, GRID)) == ()


def test_half_an_interval_or_a_value_outside_it_is_refused():
    with pytest.raises(ValueError, match="one end"):
        Measurement(quantity="volume", subject="WT", value=1.0, unit="mL", low=0.5)
    with pytest.raises(ValueError, match="outside"):
        Measurement(quantity="volume", subject="WT", value=1.0, unit="mL", low=1.5, high=2.0)
