"""Sliding-window inference with Gaussian weights, on arrays: whatever runs the network is a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, combinations, product

import numpy as np

from pipeline.models.protocols import Progress, no_progress
from pipeline.volume import FloatArray

#: (channels, i, j, k) to (outputs, i, j, k), float32.
Run = Callable[[FloatArray], FloatArray]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How an image is cut for a network.

    window: voxels along the network's axes. overlap: share of a window that neighbours have in common. divisor: each
    side of an input must be a multiple of it; None where the network takes windows of exactly this size. mirror: axes
    (0 to 2) along which every combination of flips is run too and averaged.
    """

    window: Shape
    overlap: float = 0.25
    divisor: Shape | None = None
    mirror: tuple[int, ...] = ()


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """First voxels of windows that cover 0..side, neighbours sharing at least `overlap` of a window."""
    if side <= window:
        return [0]
    count = -(-(side - window) // max(1, int(window * (1 - overlap)))) + 1
    return [round(number * (side - window) / (count - 1)) for number in range(count)]


def gaussian_weights(window: Shape) -> FloatArray:
    """(I, J, K) weights, 1 in the middle and small but never 0 at the edge (sigma: an eighth of each side)."""
    i, j, k = (
        np.exp(-0.5 * ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 8)) ** 2) for side in window
    )
    weights: FloatArray = np.maximum(i[:, None, None] * j[None, :, None] * k[None, None, :], np.float32(1e-3))
    return weights.astype(np.float32)


def padded_shape(shape: Shape, tiling: Tiling) -> tuple[Shape, Shape]:
    """The shape an image is padded to, and that of the windows cut from it.

    A side smaller than the window is padded to the next multiple of the divisor only, so a brain that fits one window
    costs no more voxels than it has; where several windows are needed, they are no larger than their number makes
    necessary.
    """
    big, tile = [], []
    divisors = tiling.divisor or tiling.window
    for side, size, divisor in zip(shape, tiling.window, divisors, strict=True):
        # Instance normalisation refuses a lowest level of a single voxel.
        least = divisor if tiling.divisor is None else 2 * divisor
        padded = max(-(-min(side, size) // divisor) * divisor, side, least)
        largest = min(padded, max(size, least))
        big.append(padded)
        tile.append(largest if tiling.divisor is None else _smallest(padded, largest, divisor, least, tiling.overlap))
    return (big[0], big[1], big[2]), (tile[0], tile[1], tile[2])


def _smallest(side: int, largest: int, divisor: int, least: int, overlap: float) -> int:
    """The smallest window of which no more are needed to cover `side` than of the `largest`."""
    count = len(window_starts(side, largest, overlap))
    if count == 1:
        return largest
    sizes = range(least, largest, divisor)
    return next((size for size in sizes if len(window_starts(side, size, overlap)) == count), largest)


def predict_windows(run: Run, image: FloatArray, tiling: Tiling, progress: Progress = no_progress) -> FloatArray:
    """What `run` gives, (outputs, I, J, K), for an image (channels, I, J, K) of any size; windows are blended.

    `progress` is called with the share of windows done.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    padded, tile = padded_shape(shape, tiling)
    before = [(big - small) // 2 for big, small in zip(padded, shape, strict=True)]
    inner = tuple(slice(first, first + side) for first, side in zip(before, shape, strict=True))
    filled = np.zeros((image.shape[0], *padded), np.float32)
    filled[(slice(None), *inner)] = image
    starts = (window_starts(side, size, tiling.overlap) for side, size in zip(padded, tile, strict=True))
    corners = list(product(*starts))
    if len(corners) == 1:
        answer = _mirrored(run, filled, tiling.mirror)
        progress(1.0)
        return np.ascontiguousarray(answer[(slice(None), *inner)])
    weights = gaussian_weights(tile)
    total = np.zeros((0, *padded), np.float32)
    seen = np.zeros(padded, np.float32)
    for number, corner in enumerate(corners, start=1):
        box = tuple(slice(first, first + side) for first, side in zip(corner, tile, strict=True))
        answer = _mirrored(run, np.ascontiguousarray(filled[(slice(None), *box)]), tiling.mirror)
        if number == 1:
            total = np.zeros((answer.shape[0], *padded), np.float32)
        total[(slice(None), *box)] += answer * weights
        seen[box] += weights
        progress(number / len(corners))
    total /= seen
    return np.ascontiguousarray(total[(slice(None), *inner)])


def _mirrored(run: Run, window: FloatArray, mirror: tuple[int, ...]) -> FloatArray:
    total = run(window)
    flips = list(chain.from_iterable(combinations(mirror, count) for count in range(1, len(mirror) + 1)))
    for flip in flips:
        axes = tuple(axis + 1 for axis in flip)
        total = total + np.flip(run(np.ascontiguousarray(np.flip(window, axes))), axes)
    return total / np.float32(len(flips) + 1) if flips else total
