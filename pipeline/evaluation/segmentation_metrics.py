"""Overlap, surface distance and volume error of two binary masks on one grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, kw_only=True)
class RegionScore:
    """One region of one case.

    dice and hd95_mm are None where they mean nothing: both where the truth has no such region (then the answer's whole
    volume is `false_volume_ml`), the distance also where the answer has none.
    volume_error_percent: of the truth's volume, None where that is 0.
    """

    dice: float | None
    hd95_mm: float | None
    volume_ml: float
    truth_volume_ml: float
    volume_error_ml: float
    volume_error_percent: float | None
    false_volume_ml: float | None


def dice(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float | None:
    """2 |A and T| / (|A| + |T|); None where both are empty."""
    total = int(answer.sum()) + int(truth.sum())
    return None if total == 0 else 2 * int((answer & truth).sum()) / total


def hausdorff95_mm(
    answer: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> float | None:
    """95th percentile, in mm, of the distances from each surface voxel of either mask to the other's surface.

    None where a mask is empty.
    """
    both = answer | truth
    if not answer.any() or not truth.any():
        return None
    box = tuple(slice(int(hit.min()), int(hit.max()) + 1) for hit in np.nonzero(both))
    surfaces = [_surface(mask[box]) for mask in (answer, truth)]
    to_other = [
        ndimage.distance_transform_edt(~other, sampling=spacing_mm)[own] for own, other in (surfaces, surfaces[::-1])
    ]
    return float(np.percentile(np.concatenate(to_other), 95))


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of the mask with a face neighbour outside it (outside the array counts as outside)."""
    inner: NDArray[np.bool_] = ndimage.binary_erosion(mask, border_value=0)
    return mask & ~inner


def score_region(
    answer: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: tuple[float, float, float], voxel_volume_ml: float
) -> RegionScore:
    """All figures of one region. answer, truth: bool (I, J, K) on one grid."""
    volume, real = (int(mask.sum()) * voxel_volume_ml for mask in (answer, truth))
    present = bool(truth.any())
    return RegionScore(
        dice=dice(answer, truth) if present else None,
        hd95_mm=hausdorff95_mm(answer, truth, spacing_mm) if present else None,
        volume_ml=volume,
        truth_volume_ml=real,
        volume_error_ml=volume - real,
        volume_error_percent=100 * (volume - real) / real if present else None,
        false_volume_ml=None if present else volume,
    )
