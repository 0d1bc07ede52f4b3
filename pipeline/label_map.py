"""From region probabilities on the analysis grid to a label map on the reference series' own grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import resample_array
from pipeline.grids import bounding_box, crop_grid, field_of_view_mm, world_points
from pipeline.measurements import lesion_components
from pipeline.report import Flag, Label, Region
from pipeline.study_findings import UnusableAnswer
from pipeline.volume import FloatArray, Grid, LabelArray

#: Some 15 voxels of 1.5 mm, a ball of 4.6 mm: smaller pieces are under what the segmenter resolves.
SMALLEST_COMPONENT_ML = 0.05
_LARGEST_BRAIN_SHARE = 0.4
_LARGEST_SHARE_OUTSIDE = 0.2


def checked_regions(probabilities: FloatArray, grid: Grid) -> FloatArray:
    """The segmenter's answer as float32 (3, I, J, K) on `grid`.

    Raises:
        UnusableAnswer: another shape, or numbers that are no probabilities.
    """
    answer = np.asarray(probabilities, dtype=np.float32)
    due = (len(Region), *grid.shape)
    if answer.shape != due:
        raise UnusableAnswer(f"the segmenter answered with shape {answer.shape} where {due} was due")
    if not np.isfinite(answer).all() or answer.min() < -1e-3 or answer.max() > 1 + 1e-3:
        raise UnusableAnswer("the segmenter's answer is not probabilities in 0..1")
    return answer


def labels_on_grid(
    probabilities: FloatArray, grid: Grid, onto: Grid, smallest_component_ml: float = SMALLEST_COMPONENT_ML
) -> LabelArray:
    """uint8 (I, J, K) on `onto`: 0, 1 NCR, 2 ED, 4 ET. probabilities: (3, ...) WT, TC, ET on `grid`.

    The regions are nested first (an enhancing voxel is core, a core voxel is tumour), then sampled linearly and cut at
    one half. Whole-tumour pieces under `smallest_component_ml` are dropped.
    """
    labels = np.zeros(onto.shape, dtype=np.uint8)
    nested = nested_regions(probabilities)
    box = box_on(nested[0] > 0.25, grid, onto)
    if box is None:
        return labels
    part = crop_grid(onto, box)
    whole, core, enhancing = (resample_array(region, grid, part) > 0.5 for region in nested)
    inside = labels[box]
    inside[whole] = Label.ED
    inside[core] = Label.NCR
    inside[enhancing] = Label.ET
    return drop_small_components(labels, onto, smallest_component_ml)


def nested_regions(probabilities: FloatArray) -> FloatArray:
    """(3, I, J, K) WT, TC, ET: a voxel is core at least as surely as enhancing, and tumour as core."""
    # From ET outwards, so that each region holds the one inside it.
    nested: FloatArray = np.maximum.accumulate(probabilities[::-1], axis=0)[::-1]
    return nested


def drop_small_components(labels: LabelArray, grid: Grid, smallest_ml: float) -> LabelArray:
    """`labels` without the connected pieces (of any label) under `smallest_ml`; a new array."""
    kept = labels.copy()
    box = bounding_box(labels)
    if box is None:
        return kept
    numbers, _ = lesion_components(labels[box] > 0)
    sizes_ml = np.bincount(numbers.ravel()) * grid.voxel_volume_ml
    kept[box][sizes_ml[numbers] < smallest_ml] = 0
    return kept


def implausibilities(labels: LabelArray, grid: Grid, brain: LabelArray, brain_grid: Grid) -> tuple[Flag, ...]:
    """Flags for a segmentation no brain can have: over 40 % of the brain, or over 20 % of it outside the brain."""
    box = bounding_box(labels)
    if box is None:
        return ()
    tumour = labels[box] > 0
    tumour_ml = float(tumour.sum()) * grid.voxel_volume_ml
    brain_ml = float(brain.sum()) * brain_grid.voxel_volume_ml
    flags = []
    if tumour_ml > _LARGEST_BRAIN_SHARE * brain_ml:
        flags.append(
            Flag(
                code="segmentation-implausible",
                text=f"The segmented tumour measures {tumour_ml:.0f} mL in a brain of {brain_ml:.0f} mL; check it.",
            )
        )
    brain_there = resample_array(brain, brain_grid, crop_grid(grid, box), "nearest") > 0
    outside = float((tumour & ~brain_there).sum()) / float(tumour.sum())
    if outside > _LARGEST_SHARE_OUTSIDE:
        flags.append(
            Flag(
                code="segmentation-outside-brain",
                text=f"{outside:.0%} of the segmented tumour lies outside the brain as found by threshold; check it.",
            )
        )
    return tuple(flags)


def box_on(mask: NDArray[np.bool_], grid: Grid, onto: Grid) -> tuple[slice, ...] | None:
    """The part of `onto` that covers the True voxels of `mask` on `grid`; None where it covers none."""
    box = bounding_box(mask, margin=1)
    if box is None:
        return None
    low, high = field_of_view_mm(crop_grid(grid, box))
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    into = Grid(shape=(1, 1, 1), affine=np.linalg.inv(onto.affine).astype(np.float64))
    indices = world_points(corners, into)
    return _clipped(indices.min(axis=0), indices.max(axis=0), onto.shape)


def _clipped(low: NDArray[np.float64], high: NDArray[np.float64], shape: Sequence[int]) -> tuple[slice, ...] | None:
    starts = np.maximum(np.floor(low).astype(int), 0)
    stops = np.minimum(np.ceil(high).astype(int) + 1, shape)
    if (stops <= starts).any():
        return None
    return tuple(slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))
