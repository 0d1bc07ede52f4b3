from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.segmentation_metrics import dice, hausdorff95_mm, score_region


def _box(shape: tuple[int, int, int], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*pair) for pair in ranges)] = True
    return mask


def test_dice_of_half_overlapping_boxes() -> None:
    first = _box((8, 4, 4), (0, 4), (0, 4), (0, 4))
    second = _box((8, 4, 4), (2, 6), (0, 4), (0, 4))
    assert dice(first, second) == pytest.approx(0.5)
    assert dice(first, first) == 1.0
    assert dice(first, ~first) == 0.0


def test_dice_of_two_empty_masks_is_undefined() -> None:
    empty = np.zeros((2, 2, 2), bool)
    assert dice(empty, empty) is None


def test_hausdorff_of_two_voxels_is_their_distance_in_mm() -> None:
    first, second = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    first[1, 2, 3] = second[4, 2, 7] = True
    assert hausdorff95_mm(first, second, (1.0, 1.0, 1.0)) == pytest.approx(5.0)
    assert hausdorff95_mm(first, second, (2.0, 1.0, 0.5)) == pytest.approx(np.hypot(6.0, 2.0))


def test_hausdorff_looks_both_ways() -> None:
    small = _box((40, 5, 5), (0, 2), (0, 5), (0, 5))
    large = _box((40, 5, 5), (0, 40), (0, 5), (0, 5))
    forth = hausdorff95_mm(small, large, (1.0, 1.0, 1.0))
    assert forth == hausdorff95_mm(large, small, (1.0, 1.0, 1.0))
    assert forth is not None
    assert 34 < forth < 38


def test_one_stray_voxel_does_not_decide_the_95th_percentile() -> None:
    truth = _box((40, 20, 20), (2, 12), (2, 12), (2, 12))
    answer = truth.copy()
    answer[39, 19, 19] = True
    assert hausdorff95_mm(answer, truth, (1.0, 1.0, 1.0)) == 0.0


def test_hausdorff_of_an_empty_mask_is_undefined() -> None:
    full = np.ones((2, 2, 2), bool)
    assert hausdorff95_mm(full, ~full, (1.0, 1.0, 1.0)) is None


def test_hausdorff_agrees_with_all_pairs_of_surface_voxels() -> None:
    random = np.random.default_rng(3)
    first, second = random.random((2, 6, 7, 5)) > 0.7
    spacing = (1.0, 2.0, 3.0)

    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = padded[1:-1, 1:-1, 1:-1].copy()
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
        return np.argwhere(mask & ~inner) * spacing

    a, b = surface(first), surface(second)
    pairs = np.linalg.norm(a[:, None] - b[None], axis=2)
    expected = np.percentile(np.concatenate((pairs.min(axis=1), pairs.min(axis=0))), 95)
    assert hausdorff95_mm(first, second, spacing) == pytest.approx(expected)


def test_region_score_volumes_and_errors() -> None:
    truth = _box((10, 10, 10), (0, 5), (0, 4), (0, 4))
    answer = _box((10, 10, 10), (0, 6), (0, 4), (0, 4))
    score = score_region(answer, truth, (1.0, 1.0, 1.0), 0.001)
    assert score.truth_volume_ml == pytest.approx(0.080)
    assert score.volume_error_ml == pytest.approx(0.016)
    assert score.volume_error_percent == pytest.approx(20.0)
    assert score.false_volume_ml is None


def test_region_absent_from_the_truth_reports_false_volume_and_no_dice() -> None:
    truth = np.zeros((4, 4, 4), bool)
    answer = _box((4, 4, 4), (0, 1), (0, 2), (0, 3))
    score = score_region(answer, truth, (1.0, 1.0, 1.0), 0.5)
    assert (score.dice, score.hd95_mm, score.volume_error_percent) == (None, None, None)
    assert score.false_volume_ml == pytest.approx(3.0)


def test_missed_region_scores_zero_and_has_no_distance() -> None:
    truth = np.ones((2, 2, 2), bool)
    score = score_region(~truth, truth, (1.0, 1.0, 1.0), 1.0)
    assert (score.dice, score.hd95_mm, score.volume_error_percent) == (0.0, None, -100.0)
