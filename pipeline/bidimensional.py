"""Which lesions RANO would measure: enhancing, 10 mm or more both ways on an axial slice; two are targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.anatomy import BidimensionalLesion
from pipeline.diameters import plane_axis
from pipeline.grids import inverse_grid, world_points
from pipeline.report import Label, Lesion
from pipeline.volume import Grid, LabelArray

LEAST_MM = 10.0
#: Slices thicker than this ask for twice their distance instead.
_THICK_SLICE_MM = 5.0
MOST_TARGETS = 2


def bidimensional(
    lesions: Sequence[Lesion], labels: LabelArray, numbers: NDArray[np.integer], grid: Grid, whole: Grid
) -> tuple[BidimensionalLesion, ...]:
    """The enhancing lesions, largest product first. labels, numbers: (I, J, K) on `grid`, a part of the `whole` series.

    A lesion's diameters are those of its tumour core: the enhancing part with the necrosis it encloses.
    """
    axis = plane_axis(whole)
    least = _least_mm(whole, axis)
    found = []
    for lesion in lesions:
        own = numbers == lesion.number
        if lesion.longest is None or lesion.perpendicular is None or not (own & (labels == Label.ET)).any():
            continue
        middle = np.mean([lesion.longest.start_mm, lesion.longest.end_mm], axis=0)
        core = own & np.isin(labels, (Label.ET, Label.NCR))
        other = (0, 1, 2) if axis is None else tuple(n for n in range(3) if n != axis)
        slices = 2 if axis is None else int(np.count_nonzero(core.any(axis=other)))
        long_mm, short_mm = lesion.longest.length_mm, lesion.perpendicular.length_mm
        found.append(
            BidimensionalLesion(
                lesion=lesion.number,
                longest_mm=long_mm,
                perpendicular_mm=short_mm,
                product_mm2=long_mm * short_mm,
                measurable=min(long_mm, short_mm) >= least and slices >= 2,
                target=False,
                least_mm=least,
                slice_index=None
                if axis is None
                else int(np.rint(world_points(middle[None], inverse_grid(whole))[0, axis])),
                z_mm=float(middle[2]),
            )
        )
    found.sort(key=lambda one: (not one.measurable, -one.product_mm2, one.lesion))
    targets = {one.lesion for one in found[:MOST_TARGETS] if one.measurable}
    return tuple(replace(one, target=one.lesion in targets) for one in found)


def _least_mm(grid: Grid, axis: int | None) -> float:
    thickness = 0.0 if axis is None else grid.spacing_mm[axis]
    return 2 * thickness if thickness > _THICK_SLICE_MM else LEAST_MM
