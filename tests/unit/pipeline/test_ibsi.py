"""Our measures on the digital phantom of the Image Biomarker Standardisation Initiative (reference manual, chapter 5).

Only what comes out as there may carry IBSI's code.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.extents import largest_distance, surface_mm2
from pipeline.volume import Grid

GRID = Grid(shape=(5, 4, 4), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
MASK = np.ones(GRID.shape, np.uint8)
for voxel in ((0, 2, 1), (3, 0, 2), (4, 0, 2), (2, 2, 2), (3, 0, 3), (4, 0, 3)):
    MASK[voxel] = 0


def test_volume_by_voxels_and_maximum_diameter_are_ibsis() -> None:
    assert MASK.sum() * GRID.voxel_volume_ml * 1000 == pytest.approx(592)  # YEKZ
    start, end = largest_distance(MASK, GRID)
    assert float(np.linalg.norm(end - start)) == pytest.approx(13.1, abs=0.05)  # L0JK


def test_surface_is_another_and_so_carries_no_ibsi_code() -> None:
    # C0JK is 388 mm2, of the mesh of the mask as it is; ours follows the mask smoothed by 0.8 voxel.
    assert surface_mm2(MASK, GRID) == pytest.approx(359, abs=1)
