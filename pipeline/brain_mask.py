"""Where the brain is, from one series of any contrast, without a model.

Works on 2 mm blocks, which is finer than the method is exact, and returns the mask on the volume's own grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.brain_surface import brain_inside
from pipeline.geometry import resample_array
from pipeline.grids import box_grid, coarse, field_of_view_mm, head_mask
from pipeline.volume import LabelArray, Volume

_WORKING_MM = 2.0
#: A stripped image is zero around the brain; scanners that blank the air leave more than this, scalp included.
_STRIPPED_ML = (300.0, 2100.0)


def brain_mask(volume: Volume) -> LabelArray:
    """uint8 (I, J, K), 1 in the brain with its ventricles and sulci, 0 outside; all 0 where no brain is found.

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
    share = brain_inside(image, head, _WORKING_MM)
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
