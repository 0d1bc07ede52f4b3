"""Where the brain is, from one series of any contrast, without a model.

Works on 2 mm blocks, which is finer than the method is exact, and returns the mask on the volume's own grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.brain_surface import brain_inside
from pipeline.geometry import resample_array
from pipeline.grids import box_grid, coarse, field_of_view_mm, head_mask
from pipeline.volume import LabelArray, SeriesRole, Volume

_WORKING_MM = 2.0
#: A stripped image is zero around the brain; scanners that blank the air leave more than this, scalp included.
_STRIPPED_ML = (300.0, 2100.0)

#: Which series shows the brain's surface best. The scalp's fat is dimmest on FLAIR; on T1, and most after contrast
#: agent, it outshines the brain and draws the surface through the skull.
MASK_ORDER: tuple[SeriesRole, ...] = (SeriesRole.FLAIR, SeriesRole.T2, SeriesRole.T1, SeriesRole.T1CE)
#: A brain outside these bounds was not found rightly, or is not wholly there.
PLAUSIBLE_ML = (700.0, 2100.0)
#: How far from the brain's brightness the surface halts: `brain_surface.brain_inside`. The second halts earlier.
SENSITIVITIES = (0.7, 0.8)


def best_brain_mask(volumes: Iterable[Volume]) -> LabelArray:
    """The brain from the first of several series that gives one of a plausible size; uint8 (I, J, K).

    volumes: on one grid, in the order of `MASK_ORDER`; taken one by one, so they may be made when asked for. Where none
    is plausible, each is tried once more with an earlier halt, and then the mask nearest to a brain's size is given, as
    a factor: one that holds the brain and half as much again is of use, a crumb of it is not. It may be empty.

    Raises:
        ValueError: no volume.
    """
    masks: list[LabelArray] = []
    seen: list[Volume] = []
    for volume in volumes:
        seen.append(volume)
        masks.append(brain_mask(volume))
        if _is_plausible(masks[-1], volume):
            return masks[-1]
    if not seen:
        raise ValueError("there is no series to find the brain in")
    for volume in seen:
        masks.append(brain_mask(volume, SENSITIVITIES[1]))
        if _is_plausible(masks[-1], volume):
            return masks[-1]
    return _nearest_to_a_brain(masks, seen[0].grid.voxel_volume_ml)


def _is_plausible(mask: LabelArray, volume: Volume) -> bool:
    return PLAUSIBLE_ML[0] <= float(mask.sum()) * volume.grid.voxel_volume_ml <= PLAUSIBLE_ML[1]


def _nearest_to_a_brain(masks: Sequence[LabelArray], voxel_volume_ml: float) -> LabelArray:
    def factor(mask: LabelArray) -> float:
        volume_ml = float(mask.sum()) * voxel_volume_ml
        return max(PLAUSIBLE_ML[0] / volume_ml, volume_ml / PLAUSIBLE_ML[1], 1.0) if volume_ml else np.inf

    return min(masks, key=factor)


def brain_mask(volume: Volume, sensitivity: float = SENSITIVITIES[0], *, brisk: bool = False) -> LabelArray:
    """uint8 (I, J, K), 1 in the brain with its ventricles and sulci, 0 outside; all 0 where no brain is found.

    brisk: with a rougher surface, in half of the time; good enough to judge grey values by.
    An image that arrives skull-stripped (exact zeros around a body of a brain's size, without a dark skull in it) gives
    its own non-zero body.
    """
    stripped = _stripped_body(volume)
    if stripped is not None:
        return stripped
    low, high = field_of_view_mm(volume.grid)
    small = coarse(volume, _WORKING_MM)
    grid = box_grid(low, high, _WORKING_MM)
    image = resample_array(small.voxels, small.grid, grid)
    head = head_mask(Volume(voxels=image, grid=grid))
    if not head.any():
        return np.zeros(volume.grid.shape, dtype=np.uint8)
    share = brain_inside(image, head, _WORKING_MM, sensitivity, brisk=brisk)
    return (resample_array(share, grid, volume.grid) > 0.5).astype(np.uint8)


def _fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled


def _stripped_body(volume: Volume) -> LabelArray | None:
    """The non-zero body where the image is already stripped of skull, else None."""
    body = volume.voxels != 0
    if body.mean() > 0.9:
        return None
    body_ml = float(body.sum()) * volume.grid.voxel_volume_ml
    if not _STRIPPED_ML[0] <= body_ml <= _STRIPPED_ML[1]:
        return None
    blocks = coarse(volume, _WORKING_MM)
    filled = _fill(blocks.voxels != 0)
    depth = ndimage.distance_transform_edt(filled, sampling=blocks.grid.spacing_mm)
    shell = (depth > 4) & (depth <= 12)
    middle = float(np.median(blocks.voxels[depth > 12])) if (depth > 12).any() else 0.0
    # A skull left in place is a dark shell a few millimetres below the surface.
    if shell.any() and float((blocks.voxels[shell] < 0.3 * middle).mean()) > 0.25:
        return None
    fine: LabelArray = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, 2, 0)], axis=2).astype(
        np.uint8
    )
    return fine
