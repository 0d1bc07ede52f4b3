"""How far the middle of the brain is pushed to one side: an estimate by its own symmetry, from any contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.brain_frame import BrainFrame
from pipeline.geometry import RigidTransform, resample_array
from pipeline.grids import box_grid
from pipeline.volume import FloatArray, Grid, LabelArray

_Array = NDArray[np.float64]
#: The block around the ventricles in which the axis of symmetry is sought, mm of the standard brain.
_HALF_WIDTH_MM, _Y_MM, _Z_MM = 26.0, (-40.0, 35.0), (-5.0, 32.0)
_FURTHEST_SHIFT_MM = 15.0
_STEP_MM = 0.5
_TUMOUR_MARGIN_VOXELS = 3
#: Below this correlation of the two halves the middle is not symmetric enough to name an axis.
LEAST_SYMMETRY = 0.5
_LEAST_SEEN = 0.35


def midline_shift_mm(image: FloatArray, tumour: LabelArray, grid: Grid, frame: BrainFrame) -> float | None:
    """image, tumour: (I, J, K) on `grid`. The shift in mm, positive to the patient's right; None where it is not seen.

    The axis about which the surroundings of the ventricles are most alike left and right, tumour left out, against the
    plane that halves the brain's outline.
    """
    block, seen = _central_block(image, tumour, grid, frame)
    reach = round(_FURTHEST_SHIFT_MM / _STEP_MM)
    half = round(_HALF_WIDTH_MM / _STEP_MM)
    middle = reach + half
    scores = np.array([_likeness(block, seen, middle + shift, half) for shift in range(-reach, reach + 1)])
    best = int(np.argmax(scores))
    if not scores[best] >= LEAST_SYMMETRY or best in (0, len(scores) - 1):
        return None
    # A parabola through the best three: finer than the step.
    before, at, after = scores[best - 1 : best + 2]
    bend = before - 2 * at + after
    finer = 0.0 if bend >= 0 else 0.5 * float(before - after) / float(bend)
    return (best - reach + finer) * _STEP_MM


def _central_block(image: FloatArray, tumour: LabelArray, grid: Grid, frame: BrainFrame) -> tuple[_Array, _Array]:
    """Image and which voxels count, 0 or 1, (X, Y, Z) at `_STEP_MM` along x, in a frame whose x = 0 is the midline."""
    scale = frame.scale
    wide = _HALF_WIDTH_MM + _FURTHEST_SHIFT_MM
    low = np.array([-wide, frame.front_mm - (70 - _Y_MM[0]) * scale, frame.top_mm - (78 - _Z_MM[0]) * scale])
    high = np.array([wide, frame.front_mm - (70 - _Y_MM[1]) * scale, frame.top_mm - (78 - _Z_MM[1]) * scale])
    coarse = box_grid(low, high, 2 * _STEP_MM)
    affine = coarse.affine.copy()
    affine[0, 0], affine[0, 3] = _STEP_MM, -wide
    onto = Grid(shape=(round(2 * wide / _STEP_MM) + 1, *coarse.shape[1:]), affine=affine)
    transform = _to_patient(frame)
    away = ndimage.binary_dilation(tumour > 0, iterations=_TUMOUR_MARGIN_VOXELS)
    seen = 1 - resample_array(away.astype(np.float32), grid, onto, "linear", 1.0, transform)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1.5 / float(np.mean(grid.spacing_mm)))
    return resample_array(smooth, grid, onto, transform=transform).astype(float), (seen > 0.5).astype(float)


def _to_patient(frame: BrainFrame) -> RigidTransform:
    """From a frame whose x axis is the midline's normal to RAS+ mm, y and z as near to the patient's as can be."""
    x = frame.normal
    y = np.array([0.0, 1.0, 0.0]) - x[1] * x
    y /= np.linalg.norm(y)
    rotation = np.column_stack([x, y, np.cross(x, y)])
    # The plane passes at distance -offset along its normal; y and z keep the patient's origin.
    return RigidTransform(rotation=rotation, translation=-frame.offset * x)


def _likeness(block: _Array, seen: _Array, axis: int, half: int) -> float:
    """Weighted correlation of the two halves about plane `axis`; -1 where too little of them is seen."""
    right = slice(axis + 1, axis + half + 1)
    left = slice(axis - half, axis)
    a, b = block[right], block[left][::-1]
    weight = seen[right] * seen[left][::-1]
    total = weight.sum()
    if total < _LEAST_SEEN * weight.size:
        return -1.0
    a, b = a - (weight * a).sum() / total, b - (weight * b).sum() / total
    spread = float(np.sqrt((weight * a * a).sum() * (weight * b * b).sum()))
    return float((weight * a * b).sum()) / spread if spread > 0 else -1.0
