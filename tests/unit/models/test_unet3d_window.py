from __future__ import annotations

import pytest
import torch

from pipeline.models.unet3d_window import predict_windows


class _Echo(torch.nn.Module):
    """Gives its first three channels back and remembers the shapes it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape[2:]))
        return image[:, :3]


@pytest.mark.parametrize("shape", [(7, 9, 20), (40, 33, 18)])
def test_what_goes_in_comes_back_on_its_own_voxels(shape: tuple[int, int, int]) -> None:
    image = torch.randn((4, *shape), generator=torch.Generator().manual_seed(1))
    done: list[float] = []
    answer = predict_windows(_Echo(), image, window=(16, 16, 16), divisor=4, progress=done.append)
    assert torch.allclose(answer, image[:3], atol=1e-5)
    assert done[-1] == 1.0


def test_a_small_image_costs_one_small_window() -> None:
    echo = _Echo()
    predict_windows(echo, torch.zeros((4, 9, 13, 10)), window=(128, 128, 128), divisor=4)
    assert echo.shapes == [(12, 16, 12)]
