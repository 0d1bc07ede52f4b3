from __future__ import annotations

import pytest
import torch

from pipeline.models.unet3d_window import gaussian_weights, predict_windows, window_starts


class _Echo(torch.nn.Module):
    """Gives its first three channels back and remembers the shapes it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape[2:]))
        return image[:, :3]


@pytest.mark.parametrize(
    ("side", "expected"), [(5, [0]), (8, [0]), (9, [0, 1]), (12, [0, 4]), (13, [0, 2, 5]), (16, [0, 4, 8])]
)
def test_windows_cover_the_side_with_overlap(side: int, expected: list[int]) -> None:
    assert window_starts(side, 8, 0.5) == expected


def test_weights_peak_in_the_middle_and_never_vanish() -> None:
    weights = gaussian_weights((8, 6, 4))
    assert weights.shape == (8, 6, 4)
    assert weights[3, 2, 1] == weights[4, 3, 2] == weights.max()
    assert weights.min() >= 1e-3


@pytest.mark.parametrize("shape", [(7, 9, 20), (16, 16, 16), (30, 5, 17), (40, 33, 18)])
def test_what_goes_in_comes_back_on_its_own_voxels(shape: tuple[int, int, int]) -> None:
    image = torch.randn((4, *shape), generator=torch.Generator().manual_seed(1))
    done: list[float] = []
    answer = predict_windows(_Echo(), image, window=(16, 16, 16), divisor=4, progress=done.append)
    assert torch.allclose(answer, image[:3], atol=1e-5)
    assert done[-1] == 1.0
    assert done == sorted(done)


def test_a_small_image_costs_one_small_window() -> None:
    echo = _Echo()
    predict_windows(echo, torch.zeros((4, 9, 13, 10)), window=(128, 128, 128), divisor=4)
    assert echo.shapes == [(12, 16, 12)]


def test_every_window_is_a_multiple_of_the_divisor() -> None:
    echo = _Echo()
    predict_windows(echo, torch.zeros((4, 3, 37, 18)), window=(16, 16, 16), divisor=4)
    assert all(side % 4 == 0 for shape in echo.shapes for side in shape)
