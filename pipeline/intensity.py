"""Bringing intensities, which MRI leaves without unit, to a common scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import FloatArray


def zscore_in_mask(voxels: FloatArray, mask: NDArray[np.generic]) -> FloatArray:
    """Mean 0 and standard deviation 1 inside `mask` (same shape), exactly 0 outside; all 0 where nothing varies."""
    inside = mask.astype(bool)
    scored = np.zeros(voxels.shape, dtype=np.float32)
    values = voxels[inside].astype(np.float64)
    if values.size == 0:
        return scored
    spread = float(values.std())
    if spread > 0:
        scored[inside] = (values - values.mean()) / spread
    return scored


def percentile_scale(
    voxels: FloatArray, mask: NDArray[np.generic] | None = None, low: float = 1.0, high: float = 99.0
) -> FloatArray:
    """float32 0..1: the `low` and `high` percentiles (of the voxels in `mask`, else of all) go to 0 and 1, clipped.

    All 0 where both percentiles agree.
    """
    values = voxels[mask.astype(bool)] if mask is not None and mask.any() else voxels
    bottom, top = (float(v) for v in np.percentile(values, (low, high)))
    if top <= bottom:
        return np.zeros(voxels.shape, dtype=np.float32)
    scaled: FloatArray = np.clip((voxels - np.float32(bottom)) / np.float32(top - bottom), 0, 1)
    return scaled
