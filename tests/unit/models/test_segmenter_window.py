from __future__ import annotations

import numpy as np
import pytest

from pipeline.models.segmenter_window import Tiling, gaussian_weights, padded_shape, predict_windows, window_starts


class _Echo:
    """Gives its first three channels back and remembers the shapes it saw."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, window: np.ndarray) -> np.ndarray:
        self.shapes.append(window.shape[1:])
        return window[:3]


def _tiling(window: int, divisor: int | None = 4, **more: object) -> Tiling:
    sides = None if divisor is None else (divisor, divisor, divisor)
    return Tiling(window=(window, window, window), divisor=sides, overlap=0.5, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "expected"), [(5, [0]), (8, [0]), (9, [0, 1]), (12, [0, 4]), (13, [0, 2, 5]), (16, [0, 4, 8])]
)
def test_windows_cover_the_side_with_overlap(side: int, expected: list[int]) -> None:
    assert window_starts(side, 8, 0.5) == expected


def test_weights_peak_in_the_middle_and_never_vanish() -> None:
    weights = gaussian_weights((8, 6, 4))
    assert weights.shape == (8, 6, 4)
    assert weights[3, 2, 1] == weights[4, 3, 2] == weights.max()
    assert weights.min() >= np.float32(1e-3)


@pytest.mark.parametrize("divisor", [4, None])
@pytest.mark.parametrize("shape", [(7, 9, 20), (16, 16, 16), (30, 5, 17), (40, 33, 18)])
def test_what_goes_in_comes_back_on_its_own_voxels(shape: tuple[int, int, int], divisor: int | None) -> None:
    image = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    done: list[float] = []
    answer = predict_windows(_Echo(), image, _tiling(16, divisor), done.append)
    np.testing.assert_allclose(answer, image[:3], atol=1e-5)
    assert done[-1] == 1.0
    assert done == sorted(done)


def test_a_small_image_costs_one_small_window() -> None:
    echo = _Echo()
    predict_windows(echo, np.zeros((4, 9, 13, 10), np.float32), _tiling(128))
    assert echo.shapes == [(12, 16, 12)]


def test_windows_are_no_larger_than_their_number_asks_for() -> None:
    tiling = Tiling(window=(128, 128, 128), divisor=(16, 16, 16), overlap=0.25)
    assert padded_shape((124, 160, 300), tiling) == ((128, 160, 300), (128, 96, 128))
    assert len(window_starts(160, 96, 0.25)) == len(window_starts(160, 128, 0.25)) == 2
    exact = Tiling(window=(128, 128, 128), overlap=0.25)
    assert padded_shape((124, 160, 300), exact) == ((128, 160, 300), (128, 128, 128))


def test_every_window_is_a_multiple_of_the_divisor() -> None:
    echo = _Echo()
    predict_windows(echo, np.zeros((4, 3, 37, 18), np.float32), _tiling(16))
    assert all(side % 4 == 0 for shape in echo.shapes for side in shape)


def test_a_network_of_one_size_sees_no_other() -> None:
    echo = _Echo()
    predict_windows(echo, np.zeros((4, 3, 37, 18), np.float32), _tiling(16, None))
    assert set(echo.shapes) == {(16, 16, 16)}


def test_mirrored_answers_are_turned_back_and_averaged() -> None:
    ramp = np.arange(8, dtype=np.float32)[None, :, None, None] * np.ones((1, 8, 8, 8), np.float32)
    # The answer is the first voxel along the mirrored axis: 0 as it is, 7 flipped.
    answer = predict_windows(lambda window: window[:, :1] + 0 * window, ramp, _tiling(8, mirror=(0,)))
    np.testing.assert_array_equal(answer, np.full((1, 8, 8, 8), 3.5, np.float32))
    echo = _Echo()
    image = np.random.default_rng(0).normal(size=(4, 8, 8, 8)).astype(np.float32)
    mirrored = predict_windows(echo, image, _tiling(8, mirror=(0, 1, 2)))
    np.testing.assert_allclose(mirrored, image[:3], atol=1e-6)
    assert len(echo.shapes) == 8
