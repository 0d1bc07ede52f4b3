"""Sliding-window inference of a PyTorch network, for training; `segmenter_window` does it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.models.segmenter_torch import network_run
from pipeline.models.segmenter_window import Tiling
from pipeline.models.segmenter_window import predict_windows as predict_windows_of_arrays


def predict_windows(
    network: nn.Module,
    image: Tensor,
    *,
    window: tuple[int, int, int],
    divisor: int,
    overlap: float = 0.5,
    progress: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Logits (regions, I, J, K), float32 on the CPU, of an image (channels, I, J, K) on any device.

    The network runs where the image lies. See `segmenter_window.predict_windows`.
    """
    tiling = Tiling(window=window, overlap=overlap, divisor=(divisor, divisor, divisor))
    run = network_run(network, image.device)
    return torch.from_numpy(predict_windows_of_arrays(run, image.float().cpu().numpy(), tiling, progress))
