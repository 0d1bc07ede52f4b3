"""Tumour-free brains made from brains with a tumour: the healthy hemisphere, reflected over the midline.

Real negatives in the very style of the positives. The reflected side is stretched a little and the whole shaded, so
that perfect symmetry does not give them away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models.training.volume_cases import TrainingCase

#: How many voxels around the middle of the brain are searched for the midline.
_SEARCH = 14


def mirrored_cases(cases: Iterable[TrainingCase], seed: int) -> list[TrainingCase]:
    """A tumour-free brain from every case whose tumour keeps to one side."""
    random = np.random.default_rng((seed, 7))
    found = (mirrored_case(case, random) for case in cases)
    return [case for case in found if case is not None]


def mirrored_case(case: TrainingCase, random: np.random.Generator) -> TrainingCase | None:
    """The case with its healthy hemisphere on both sides; None where no hemisphere is free of tumour."""
    total = midline_sum(case.image)
    side = case.image.shape[1]
    index = np.arange(side)
    left, right = 2 * index < total, 2 * index > total
    tumour = case.regions[0].any(axis=(1, 2))
    if not tumour.any() or (tumour[left].any() and tumour[right].any()):
        return None
    healthy = left if tumour[right].any() else right
    reflected = _stretched(_reflected(case.image, total), random)
    image = np.where((healthy | (2 * index == total))[None, :, None, None], case.image, reflected).astype(np.float32)
    shaded = image * _shading(image.shape, random)
    shaded[image == 0] = 0.0
    return dataclasses.replace(
        case,
        name=f"{case.name}-mirrored",
        kind="mirrored",
        image=shaded.astype(np.float16),
        regions=np.zeros_like(case.regions),
    )


def midline_sum(image: NDArray[np.float16]) -> int:
    """The s for which voxel i (axis 1, left to right) lies opposite to voxel s - i: the most symmetric choice."""
    body = (np.abs(image[:, ::2, ::2, ::2]).sum(axis=0) > 0).astype(np.float32)
    series = image[:, ::2, ::2, ::2].astype(np.float32).sum(axis=0) + 3.0 * body
    side = series.shape[0]
    weights = body.sum(axis=(1, 2))
    middle = round(2 * float((weights * np.arange(side)).sum() / weights.sum()))

    def mismatch(total: int) -> float:
        return float(np.abs(series - _reflected(series[None], total)[0]).mean())

    return 2 * min(range(middle - _SEARCH // 2, middle + _SEARCH // 2 + 1), key=mismatch)


def _reflected(image: NDArray[np.floating], total: int) -> NDArray[np.floating]:
    """(C, I, J, K) with voxel i taken from total - i; 0 where that lies outside."""
    source = total - np.arange(image.shape[1])
    inside = (source >= 0) & (source < image.shape[1])
    turned = np.zeros_like(image)
    turned[:, inside] = image[:, source[inside]]
    return turned


def _stretched(image: NDArray[np.floating], random: np.random.Generator) -> NDArray[np.float32]:
    """Scaled by up to 4 % from front to back and from bottom to top about the middle."""
    scale = np.array([1.0, *random.uniform(0.96, 1.04, 2)])
    middle = (np.array(image.shape[1:]) - 1) / 2
    return np.stack(
        [
            ndimage.affine_transform(channel.astype(np.float32), scale, middle - scale * middle, order=1)
            for channel in image
        ]
    )


def _shading(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    coarse = 1.0 + 0.1 * random.standard_normal((shape[0], 3, 3, 3)).astype(np.float32)
    factors = [fine / small for fine, small in zip(shape[1:], (3, 3, 3), strict=True)]
    fields = [ndimage.zoom(field, factors, order=1, mode="nearest", grid_mode=True) for field in coarse]
    return np.stack(fields).astype(np.float32)
