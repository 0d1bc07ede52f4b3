"""Numbers from a segmentation: volumes in mL, lesions, axial diameters in mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.diameters import axial_diameters
from pipeline.grids import bounding_box, crop_grid, world_points
from pipeline.report import REGION_LABELS, Label, Lesion, Measurement, Region, Segmentation
from pipeline.volume import Grid, LabelArray

VOLUME = "volume"
LONGEST_DIAMETER = "longest axial diameter"
PERPENDICULAR_DIAMETER = "perpendicular axial diameter"
_MILLILITRE = "mL"
_MILLIMETRE = "mm"

#: What a volume is given for, in this order: the nested regions, then the two labels that are no region.
_SUBJECTS: dict[str, tuple[Label, ...]] = {
    **{region.value: labels for region, labels in REGION_LABELS.items()},
    Label.NCR.name: (Label.NCR,),
    Label.ED.name: (Label.ED,),
}


def lesion_components(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], int]:
    """mask (I, J, K) -> (I, J, K) numbers from 1 by falling volume, and how many. Voxels touch by face, edge or corner.

    Equal volumes keep the order of their first voxel.
    """
    found, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count == 0:
        return np.zeros(mask.shape, dtype=np.int32), 0
    sizes = np.bincount(found.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    number = np.zeros(count + 1, dtype=np.int32)
    number[order + 1] = np.arange(1, count + 1)
    return number[found], count


def measure(segmentation: Segmentation) -> tuple[tuple[Measurement, ...], tuple[Lesion, ...]]:
    """All measurements and lesions of one segmentation; both empty where no voxel is labelled.

    Volumes: WT, TC, ET, NCR, ED in mL, total and per lesion. Diameters: per lesion, of the tumour core (enhancing part
    with the necrosis it encloses) where the lesion has one, else of the whole tumour; the total is the lesion with the
    longest diameter.
    """
    labels, grid = segmentation.labels, segmentation.grid
    box = bounding_box(labels)
    if box is None:
        return (), ()
    labels, grid = labels[box], crop_grid(grid, box)
    numbers, count = lesion_components(labels > 0)
    lesions: list[Lesion] = []
    of_lesions: list[Measurement] = []
    largest: list[Measurement] = []
    largest_mm = 0.0
    for number in range(1, count + 1):
        own = np.where(numbers == number, labels, 0).astype(np.uint8)
        lesion, subject = _lesion(number, own, grid)
        lesions.append(lesion)
        of_lesions += [*_volumes(own, grid, number), *_diameters(lesion, subject, number)]
        if lesion.longest is not None and lesion.longest.length_mm > largest_mm:
            largest_mm = lesion.longest.length_mm
            largest = _diameters(lesion, subject, None)
    return (*_volumes(labels, grid, None), *largest, *of_lesions), tuple(lesions)


def _volumes(labels: LabelArray, grid: Grid, lesion: int | None) -> list[Measurement]:
    counts = np.bincount(labels.ravel(), minlength=max(Label) + 1)
    return [
        Measurement(
            quantity=VOLUME,
            subject=subject,
            value=float(sum(counts[label] for label in parts)) * grid.voxel_volume_ml,
            unit=_MILLILITRE,
            lesion=lesion,
        )
        for subject, parts in _SUBJECTS.items()
    ]


def _lesion(number: int, labels: LabelArray, grid: Grid) -> tuple[Lesion, str]:
    core = np.isin(labels, REGION_LABELS[Region.TC])
    subject = Region.TC if core.any() else Region.WT
    lines = axial_diameters((core if subject is Region.TC else labels > 0).astype(np.uint8), grid)
    indices = np.argwhere(labels)
    x, y, z = (float(v) for v in world_points(indices, grid).mean(axis=0))
    lesion = Lesion(
        number=number,
        centroid_mm=(x, y, z),
        volume_ml=len(indices) * grid.voxel_volume_ml,
        longest=lines[0] if lines else None,
        perpendicular=lines[1] if lines else None,
    )
    return lesion, subject.value


def _diameters(lesion: Lesion, subject: str, number: int | None) -> list[Measurement]:
    lines = ((LONGEST_DIAMETER, lesion.longest), (PERPENDICULAR_DIAMETER, lesion.perpendicular))
    return [
        Measurement(quantity=quantity, subject=subject, value=line.length_mm, unit=_MILLIMETRE, lesion=number)
        for quantity, line in lines
        if line is not None
    ]
