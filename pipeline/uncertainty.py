"""How sure a volume is: what it would be where the segmenter's probabilities are held to a higher and a lower cut.

The rule: the volume above `SURE_CUT` to the volume above `POSSIBLE_CUT`. Were one hidden number, uniform in 0..1, to
decide all voxels at once (a voxel belongs to the region where its probability exceeds the number), then these would be
exactly the 10 % and 90 % quantiles of the volume, and its mean the sum of the probabilities. Voxels that decide each
for itself would give an interval a hundred times too narrow: neighbours err together. Of all ways in which they can
depend on each other, one common number spreads the volume most, which is the careful assumption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry import resample_array
from pipeline.grids import crop_grid
from pipeline.label_map import SMALLEST_COMPONENT_ML, box_on, nested_regions
from pipeline.measurements import VOLUME, lesion_components
from pipeline.report import POSSIBLE_CUT, SURE_CUT, Flag, Measurement, Region
from pipeline.volume import FloatArray, Grid, LabelArray

#: Where nothing was segmented, a possible tumour of less than this is not worth a reader's time.
_WORTH_A_WORD_ML = 1.0


@dataclass(frozen=True, kw_only=True)
class VolumeRange:
    """The interval of a volume in mL."""

    low_ml: float
    high_ml: float


def volume_ranges(
    probabilities: FloatArray,
    grid: Grid,
    labels: LabelArray,
    onto: Grid,
    smallest_component_ml: float = SMALLEST_COMPONENT_ML,
    *,
    sure_cut: float = SURE_CUT,
    possible_cut: float = POSSIBLE_CUT,
) -> dict[Region, VolumeRange]:
    """The interval of each region's total volume; empty where the model answers with bare labels and knows no doubt.

    probabilities: float32 (3, ...) WT, TC, ET on `grid`. labels: uint8 (I, J, K) on `onto`, made of them by
    `labels_on_grid` with the same `smallest_component_ml`; every labelled volume lies in its interval.
    """
    if np.isin(probabilities, (0.0, 1.0)).all():
        return {}
    nested = nested_regions(probabilities)
    box = box_on(nested[0] > possible_cut / 2, grid, onto)
    if box is None:
        return {region: VolumeRange(low_ml=0.0, high_ml=0.0) for region in Region}
    part = crop_grid(onto, box)
    ranges: dict[Region, VolumeRange] = {}
    kept, possible = labels[box] > 0, None
    for region, share in zip(Region, nested, strict=True):
        sampled = resample_array(share, grid, part)
        above = sampled > possible_cut
        if possible is None:
            numbers, _ = lesion_components(above)
            sizes_ml = np.bincount(numbers.ravel()) * part.voxel_volume_ml
            possible = above & (sizes_ml[numbers] >= smallest_component_ml)
        sure = (sampled > sure_cut) & kept
        ranges[region] = VolumeRange(
            low_ml=float(np.count_nonzero(sure)) * part.voxel_volume_ml,
            high_ml=float(np.count_nonzero(above & possible)) * part.voxel_volume_ml,
        )
    return ranges


def with_ranges(measurements: Sequence[Measurement], ranges: Mapping[Region, VolumeRange]) -> tuple[Measurement, ...]:
    """The same measurements, the total volumes of the regions with their intervals."""
    return tuple(_with_range(measurement, ranges) for measurement in measurements)


def _with_range(measurement: Measurement, ranges: Mapping[Region, VolumeRange]) -> Measurement:
    if measurement.quantity != VOLUME or measurement.lesion is not None or measurement.subject not in set(Region):
        return measurement
    found = ranges.get(Region(measurement.subject))
    if found is None:
        return measurement
    # The volume and its ends are counted on boxes of one grid, whose voxel volumes may differ in the last digit.
    low, high = min(found.low_ml, measurement.value), max(found.high_ml, measurement.value)
    return replace(measurement, low=low, high=high)


def overlooked(labels: LabelArray, ranges: Mapping[Region, VolumeRange]) -> tuple[Flag, ...]:
    """A flag where no voxel was segmented though a tumour of a millilitre is held possible."""
    whole = ranges.get(Region.WT)
    if whole is None or labels.any() or whole.high_ml < _WORTH_A_WORD_ML:
        return ()
    text = (
        f"No tumour was segmented, but {whole.high_ml:.1f} mL of brain have a tumour probability above {POSSIBLE_CUT}: "
        "a faint or small tumour is not excluded."
    )
    return (Flag(code="segmentation-uncertain", text=text),)
