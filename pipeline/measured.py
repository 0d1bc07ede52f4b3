"""All that is measured of one study: the segmentation's numbers, and where in the brain it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.anatomy import BidimensionalLesion, BrainFacts
from pipeline.bidimensional import bidimensional
from pipeline.brain_frame import BrainFrame, brain_frame
from pipeline.brain_mask import PLAUSIBLE_ML
from pipeline.extents import extent
from pipeline.geometry import resample_array
from pipeline.grids import bounding_box, crop_grid, world_points
from pipeline.measurements import lesion_components, measure
from pipeline.midline_shift import midline_shift_mm
from pipeline.places import place_of
from pipeline.preparation import PreparedStudy
from pipeline.report import REGION_LABELS, Lesion, Measurement, Region, Segmentation
from pipeline.volume import Grid

MAXIMUM_DIAMETER = "maximum 3D diameter"
SURFACE_AREA = "surface area"
MIDLINE_DISTANCE = "distance to midline"
MIDLINE_SHIFT = "midline shift"
BRAIN_SHARE = "share of brain volume"
LESION_COUNT = "number of lesions"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """See the fields of `pipeline.report.Report`; `measurements` is empty where no voxel is labelled."""

    measurements: tuple[Measurement, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    brain: BrainFacts | None = None
    bidimensional: tuple[BidimensionalLesion, ...] = ()


def measure_study(segmentation: Segmentation, study: PreparedStudy) -> Measured:
    """Volumes, diameters, extents, places and RANO's lesions, and what they are of the whole brain."""
    measurements, lesions = measure(segmentation)
    box = bounding_box(segmentation.labels)
    if box is None:
        return Measured()
    frame, brain_ml = _frame(study)
    lesions = with_whereabouts(lesions, segmentation, frame)
    labels, grid = segmentation.labels[box], crop_grid(segmentation.grid, box)
    numbers, _ = lesion_components(labels > 0)
    brain = None
    if frame is not None:
        tumour = resample_array(segmentation.labels, segmentation.grid, study.grid, "nearest")
        image = study.on_analysis_grid(study.reference_role).voxels
        brain = BrainFacts(
            volume_ml=brain_ml,
            tumour_share=min(np.count_nonzero(segmentation.labels) * segmentation.grid.voxel_volume_ml / brain_ml, 1.0),
            lesion_count=len(lesions),
            midline_shift_mm=midline_shift_mm(image, tumour, study.grid, frame),
        )
    return Measured(
        measurements=(*measurements, *_further(lesions, brain)),
        lesions=lesions,
        brain=brain,
        bidimensional=bidimensional(lesions, labels, numbers, grid, segmentation.grid),
    )


def with_whereabouts(
    lesions: Sequence[Lesion], segmentation: Segmentation, frame: BrainFrame | None
) -> tuple[Lesion, ...]:
    """The lesions of `segmentation` with extent and, in the frame of the brain, place."""
    box = bounding_box(segmentation.labels)
    if box is None:
        return tuple(lesions)
    labels, grid = segmentation.labels[box], crop_grid(segmentation.grid, box)
    numbers, _ = lesion_components(labels > 0)
    return tuple(_located(lesion, np.where(numbers == lesion.number, labels, 0), grid, frame) for lesion in lesions)


def _located(lesion: Lesion, labels: np.ndarray, grid: Grid, frame: BrainFrame | None) -> Lesion:
    core = np.isin(labels, REGION_LABELS[Region.TC]).astype(np.uint8)
    subject = Region.TC if core.any() else Region.WT
    whole = (labels > 0).astype(np.uint8)
    place = None if frame is None else place_of(world_points(np.argwhere(whole), grid), frame)
    return replace(
        lesion, extent=extent(whole, core if subject is Region.TC else whole, subject.value, grid), place=place
    )


def _frame(study: PreparedStudy) -> tuple[BrainFrame | None, float]:
    """The brain's frame and volume in mL; no frame where the mask is no plausible brain."""
    volume_ml = float(np.count_nonzero(study.brain)) * study.grid.voxel_volume_ml
    if not PLAUSIBLE_ML[0] <= volume_ml <= PLAUSIBLE_ML[1]:
        return None, volume_ml
    return brain_frame(study.brain, study.grid), volume_ml


def _further(lesions: Sequence[Lesion], brain: BrainFacts | None) -> list[Measurement]:
    """The totals first, then those of single lesions."""
    whole = Region.WT.value
    found = [Measurement(quantity=LESION_COUNT, subject=whole, value=float(len(lesions)), unit="1")]
    if brain is not None:
        found.append(Measurement(quantity=BRAIN_SHARE, subject=whole, value=100 * brain.tumour_share, unit="%"))
        if brain.midline_shift_mm is not None:
            shift = abs(brain.midline_shift_mm)
            found.append(Measurement(quantity=MIDLINE_SHIFT, subject=whole, value=shift, unit="mm"))
    for lesion in lesions:
        reach, place = lesion.extent, lesion.place
        if reach is not None:
            found.append(_of(lesion, MAXIMUM_DIAMETER, reach.subject, reach.maximum_diameter_mm, "mm"))
            found.append(_of(lesion, SURFACE_AREA, reach.subject, reach.surface_cm2, "cm2"))
        if place is not None:
            found.append(_of(lesion, MIDLINE_DISTANCE, whole, place.distance_to_midline_mm, "mm"))
    return found


def _of(lesion: Lesion, quantity: str, subject: str, value: float, unit: str) -> Measurement:
    return Measurement(quantity=quantity, subject=subject, value=value, unit=unit, lesion=lesion.number)
