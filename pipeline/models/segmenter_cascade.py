"""Coarse to fine: one network reads the whole brain at a coarse voxel size, then only what it found at its fine one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models.protocols import Progress
from pipeline.models.segmenter_axes import rescaled
from pipeline.volume import FloatArray

Probabilities = Callable[[FloatArray, Progress], FloatArray]
#: Whole-tumour probability from which the coarse answer is worth a closer look.
_WORTH_A_LOOK = 0.2
#: Room around what was found, so that the fine network sees what the tumour lies in.
_MARGIN_MM = 16.0
#: Share of the time that the coarse look takes, for the progress bar.
_COARSE_SHARE = 0.4


def refined(
    probabilities: Probabilities,
    image: FloatArray,
    spacing_mm: tuple[float, float, float],
    coarse_mm: float,
    progress: Progress,
) -> FloatArray:
    """(3, I, J, K) probabilities of an image (channels, I, J, K) at `spacing_mm`.

    Inside boxes around what the coarse look found the fine answer counts, elsewhere the coarse one.
    """
    wide = (coarse_mm, coarse_mm, coarse_mm)
    shape = (image.shape[1], image.shape[2], image.shape[3])
    coarse = probabilities(rescaled(image, spacing_mm, wide), lambda share: progress(_COARSE_SHARE * share))
    answer = rescaled(coarse, wide, spacing_mm, shape)
    boxes = _boxes(answer[0] > _WORTH_A_LOOK, spacing_mm)
    for done, box in enumerate(boxes):

        def part_done(share: float, done: int = done) -> None:
            progress(_COARSE_SHARE + (1 - _COARSE_SHARE) * (done + share) / len(boxes))

        answer[(slice(None), *box)] = probabilities(np.ascontiguousarray(image[(slice(None), *box)]), part_done)
    progress(1.0)
    return answer


def _boxes(found: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> list[tuple[slice, ...]]:
    """Boxes around the pieces of `found` with room around them; pieces whose boxes touch share one."""
    margins = [round(_MARGIN_MM / step) for step in spacing_mm]
    covered = np.zeros(found.shape, np.bool_)
    boxes = ndimage.find_objects(ndimage.label(found)[0])
    while True:
        for box in boxes:
            covered[_wider(box, margins, found.shape)] = True
        merged: list[tuple[slice, ...]] = ndimage.find_objects(ndimage.label(covered)[0])
        if len(merged) == len(boxes):
            return merged
        boxes, margins = merged, [0, 0, 0]


def _wider(box: tuple[slice, ...], margins: list[int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, side))
        for part, margin, side in zip(box, margins, shape, strict=True)
    )
