"""Sliding-window inference with Gaussian weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """First voxels of windows that cover 0..side, neighbours sharing at least `overlap` of a window."""
    if side <= window:
        return [0]
    count = -(-(side - window) // max(1, int(window * (1 - overlap)))) + 1
    return [round(number * (side - window) / (count - 1)) for number in range(count)]


def gaussian_weights(window: tuple[int, int, int]) -> Tensor:
    """(I, J, K) weights, 1 in the middle and small but never 0 at the edge (sigma: an eighth of each side)."""
    axes = [
        torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float32) - (side - 1) / 2) / (side / 8)) ** 2)
        for side in window
    ]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return weights.clamp_min(1e-3)


def predict_windows(
    network: nn.Module,
    image: Tensor,
    *,
    window: tuple[int, int, int],
    divisor: int,
    overlap: float = 0.5,
    progress: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Logits (regions, I, J, K) of an image (channels, I, J, K).

    A side that is smaller than the window is padded with zeros to the next multiple of `divisor` only, so a brain that
    fits one window costs no more voxels than it has. `progress` is called with the share of windows done.
    """
    shape = tuple(int(side) for side in image.shape[1:])
    padded = [max(-(-min(side, size) // divisor) * divisor, side) for side, size in zip(shape, window, strict=True)]
    # InstanceNorm refuses a lowest level of a single voxel.
    padded = [max(side, 2 * divisor) for side in padded]
    tile = tuple(min(side, max(size, 2 * divisor)) for side, size in zip(padded, window, strict=True))
    before = [(big - small) // 2 for big, small in zip(padded, shape, strict=True)]
    after = [big - small - first for big, small, first in zip(padded, shape, before, strict=True)]
    filled = functional.pad(image, [before[2], after[2], before[1], after[1], before[0], after[0]])
    corners = list(product(*(window_starts(side, size, overlap) for side, size in zip(padded, tile, strict=True))))
    inner = tuple(slice(first, first + side) for first, side in zip(before, shape, strict=True))
    if len(corners) == 1:
        logits: Tensor = network(filled[None])[0]
        progress(1.0)
        return logits[(slice(None), *inner)].contiguous()
    weights = gaussian_weights((tile[0], tile[1], tile[2]))
    total: Tensor | None = None
    seen = torch.zeros(padded)
    for number, corner in enumerate(corners, start=1):
        box = tuple(slice(first, first + side) for first, side in zip(corner, tile, strict=True))
        logits = network(filled[(slice(None), *box)][None])[0]
        if total is None:
            total = torch.zeros((logits.shape[0], *padded))
        total[(slice(None), *box)] += logits * weights
        seen[box] += weights
        progress(number / len(corners))
    assert total is not None  # corners is never empty
    return (total / seen)[(slice(None), *inner)].contiguous()
