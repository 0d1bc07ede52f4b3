"""Which series can be worked with: by what they cover."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import NothingToAnalyse
from pipeline.inputs import usable_volumes
from pipeline.volume import Grid, SeriesRole, Volume


def series(spacing_mm: float) -> Volume:
    voxels = np.random.default_rng(1).random((20, 22, 18)).astype(np.float32)
    return Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=np.diag([spacing_mm] * 3 + [1.0])))


@pytest.mark.parametrize(
    ("spacing_mm", "code", "said"),
    [(1.0, "series-too-small", "covers only 18 mm"), (80.0, "series-too-large", "covers 1760 mm.*check its spacing")],
)
def test_a_series_that_covers_too_little_or_what_no_scanner_covers_is_left_out(
    spacing_mm: float, code: str, said: str
) -> None:
    kept, flags = usable_volumes({SeriesRole.T1: series(8.0), SeriesRole.T2: series(spacing_mm)})
    assert list(kept) == [SeriesRole.T1]
    assert code in {flag.code for flag in flags}
    with pytest.raises(NothingToAnalyse, match=said):
        usable_volumes({SeriesRole.T2: series(spacing_mm)})
