"""How much of the brain a study shows, and whether it is an adult's."""

from __future__ import annotations

from collections.abc import Iterator

import nibabel as nib
import numpy as np

from pipeline.brain_mask import PLAUSIBLE_ML
from pipeline.geometry import Points, resample_array
from pipeline.grids import coarse, inverse_grid, world_points
from pipeline.preparation import PreparedStudy
from pipeline.report import Flag
from pipeline.volume import Volume

#: Where the images end, a slice that still shows this share of the brain's largest means that brain was cut off.
CUT_SHARE = 0.25
#: How near the end of the images that slice lies.
_EDGE_MM = 6.0
_SPACING_MM = 3.0
#: A series that misses more than this share of the brain found in the study is incomplete.
MISSING_SHARE = 0.05
#: A whole brain smaller than this is no grown-up's (adults: 1,000 to 1,900 mL with ventricles and sulci).
SMALLEST_ADULT_ML = 1000.0


def coverage_flags(study: PreparedStudy) -> Iterator[Flag]:
    """Brain cut off at the top or bottom of the reference series; other series that show only a part of it."""
    for end, share in cut_shares(study).items():
        if share > CUT_SHARE:
            yield Flag(
                code="coverage-cut",
                text=f"The {study.reference_role} series ends at the {end} within the brain: its last slice there "
                f"still shows {share:.0%} of the brain's largest cross-section. Volumes may lack what is not shown.",
            )
    points = world_points(np.argwhere(study.brain[::3, ::3, ::3]) * 3, study.grid)
    for role, volume in study.volumes.items():
        shown = shown_share(volume, study.transforms[role].apply(points))
        if shown < 1 - MISSING_SHARE:
            yield Flag(
                code="coverage-partial",
                text=f"The {role} series shows only {shown:.0%} of the brain; where it shows none, the models read "
                "nothing of it.",
            )


def shown_share(volume: Volume, points_mm: Points) -> float:
    """Share 0..1 of points (n, 3) of the brain where the series has an image: inside it, and not exactly 0."""
    indices = np.rint(world_points(points_mm, inverse_grid(volume.grid))).astype(int)
    inside = ((indices >= 0) & (indices < volume.grid.shape)).all(axis=1)
    i, j, k = indices[inside].T
    return float(np.count_nonzero(volume.voxels[i, j, k])) / max(len(indices), 1)


def cut_shares(study: PreparedStudy) -> dict[str, float]:
    """By how much of its largest cross-section the brain is cut off at the 'top' and 'bottom' of the reference series.

    Looked at along the series' own axis that runs nearest to head and foot, so a tilted slab is judged by its own ends.
    About 0 where the brain ends before the images do; up to 0.2 where they are cropped to the brain.
    """
    small = coarse(study.reference, _SPACING_MM)
    brain = resample_array(study.brain, study.grid, small.grid, "nearest") > 0
    orientation = nib.orientations.io_orientation(small.grid.affine)
    axis = int(np.flatnonzero(orientation[:, 0] == 2)[0])
    area = np.count_nonzero(brain, axis=tuple(other for other in range(3) if other != axis)).astype(float)
    if area.max() == 0:
        return {"top": 0.0, "bottom": 0.0}
    from_end_mm = (np.arange(len(area)) + 0.5) * small.grid.spacing_mm[axis]
    # The surface that was fitted to the brain may stop a voxel before the images do.
    near = max(int(np.count_nonzero(from_end_mm < _EDGE_MM)), 1)
    upwards = area if orientation[axis, 1] > 0 else area[::-1]
    return {"top": float(upwards[-near:].max() / area.max()), "bottom": float(upwards[:near].max() / area.max())}


def size_flags(study: PreparedStudy) -> Iterator[Flag]:
    """A whole brain far below an adult's size."""
    volume_ml = float(study.brain.sum()) * study.grid.voxel_volume_ml
    whole = max(cut_shares(study).values()) <= CUT_SHARE
    if whole and PLAUSIBLE_ML[0] <= volume_ml < SMALLEST_ADULT_ML:
        yield Flag(
            code="brain-small",
            text=f"The brain measures {volume_ml:.0f} mL, an adult's at least {SMALLEST_ADULT_ML:.0f} mL: perhaps a "
            "child, whom the models do not know.",
        )
