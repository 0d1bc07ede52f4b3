"""Side, region and distance to the midline of a lesion, by coordinates: `anatomy.PLACE_RULE` says how sure."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.anatomy import BrainRegion, Place, Side
from pipeline.brain_frame import BrainFrame

_Points = NDArray[np.float64]

_R = BrainRegion
#: Reference points in the standard brain (MNI152 mm), right side; those of the left are their mirror images.
REFERENCE_POINTS: tuple[tuple[BrainRegion, tuple[float, float, float]], ...] = (
    (_R.FRONTAL, (8, 55, 0)),
    (_R.FRONTAL, (30, 50, 5)),
    (_R.FRONTAL, (22, 30, -16)),
    (_R.FRONTAL, (10, 40, 28)),
    (_R.FRONTAL, (36, 32, 26)),
    (_R.FRONTAL, (50, 18, 14)),
    (_R.FRONTAL, (8, 5, 60)),
    (_R.FRONTAL, (28, 10, 50)),
    (_R.FRONTAL, (48, 0, 40)),
    (_R.FRONTAL, (35, -18, 58)),
    (_R.FRONTAL, (8, -18, 62)),
    (_R.PARIETAL, (46, -28, 48)),
    (_R.PARIETAL, (56, -32, 30)),
    (_R.PARIETAL, (46, -58, 40)),
    (_R.PARIETAL, (26, -58, 56)),
    (_R.PARIETAL, (8, -55, 48)),
    (_R.PARIETAL, (8, -58, 28)),
    (_R.TEMPORAL, (56, -10, -4)),
    (_R.TEMPORAL, (40, 12, -30)),
    (_R.TEMPORAL, (54, -14, -24)),
    (_R.TEMPORAL, (26, -14, -18)),
    (_R.TEMPORAL, (36, -34, -18)),
    (_R.TEMPORAL, (56, -40, 4)),
    (_R.TEMPORAL, (50, -52, -12)),
    (_R.OCCIPITAL, (10, -86, 4)),
    (_R.OCCIPITAL, (12, -76, 22)),
    (_R.OCCIPITAL, (32, -84, 12)),
    (_R.OCCIPITAL, (22, -84, -10)),
    (_R.OCCIPITAL, (42, -74, -2)),
    (_R.INSULA, (38, 8, 0)),
    (_R.INSULA, (39, -10, 6)),
    (_R.DEEP, (12, 12, 8)),
    (_R.DEEP, (24, 4, 2)),
    (_R.DEEP, (26, -8, 4)),
    (_R.DEEP, (12, -18, 8)),
    (_R.CALLOSAL, (3, 24, 6)),
    (_R.CALLOSAL, (4, 4, 24)),
    (_R.CALLOSAL, (6, -22, 26)),
    (_R.CALLOSAL, (5, -38, 16)),
    (_R.CEREBELLUM, (20, -52, -24)),
    (_R.CEREBELLUM, (24, -66, -32)),
    (_R.CEREBELLUM, (38, -60, -40)),
    (_R.CEREBELLUM, (4, -64, -26)),
    (_R.CEREBELLUM, (18, -52, -50)),
    (_R.BRAINSTEM, (2, -26, -12)),
    (_R.BRAINSTEM, (3, -28, -34)),
    (_R.BRAINSTEM, (2, -40, -54)),
)
_SHIFT_MM = 8.0
_SHIFTS = np.concatenate([np.zeros((1, 3)), _SHIFT_MM * np.eye(3), -_SHIFT_MM * np.eye(3)])
#: Share of a lesion on its lesser side from which it crosses the midline; share that makes a region worth a word.
_CROSSES = 0.1
_MOST_POINTS = 4000

_REGIONS = tuple(region for region, _ in REFERENCE_POINTS)
_TREE = cKDTree(np.array([point for _, point in REFERENCE_POINTS]))


def regions_of(standard_mm: _Points) -> list[BrainRegion]:
    """The region of each point (n, 3) of the standard brain."""
    folded = np.column_stack([np.abs(standard_mm[:, 0]), standard_mm[:, 1:]])
    _, nearest = _TREE.query(folded)
    return [_REGIONS[index] for index in nearest]


def place_of(points_mm: _Points, frame: BrainFrame) -> Place:
    """points_mm: (n, 3), the centres of a lesion's voxels in RAS+ mm, at least one."""
    right = frame.right_of_midline_mm(points_mm)
    share_right = float((right > 0).mean())
    crosses = min(share_right, 1 - share_right) >= _CROSSES
    side = Side.MIDLINE if crosses else Side.RIGHT if share_right > 0.5 else Side.LEFT
    towards = np.sign(float(np.median(right))) or 1.0
    distance_mm = 0.0 if crosses else max(float((right * towards).min()), 0.0)
    sample = points_mm[:: max(len(points_mm) // _MOST_POINTS, 1)]
    standard = frame.standard(sample)
    counts = Counter(regions_of(standard))
    region, _ = counts.most_common(1)[0]
    moved = (standard[None] + _SHIFTS[:, None]).reshape(-1, 3)
    stays = sum(found is region for found in regions_of(moved)) / len(moved)
    also = tuple(other for other, count in counts.most_common() if other is not region and count >= 0.1 * len(sample))
    return Place(side=side, region=region, region_sureness=stays, distance_to_midline_mm=distance_mm, also=also)
