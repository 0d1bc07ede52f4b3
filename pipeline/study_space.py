"""Where the series of an analysed study and its brain lie: enough to lay every series on the reference again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Grid, LabelArray, SeriesRole


@dataclass(frozen=True, kw_only=True, eq=False)
class StudySpace:
    """The space of one study, that of its reference series.

    to_series: of each role float64 (4, 4), from a point of the reference to that of the series, both RAS+ mm.
    brain: uint8 (I, J, K) on `grid`, 1 inside.
    """

    to_series: Mapping[SeriesRole, NDArray[np.float64]]
    brain: LabelArray
    grid: Grid

    def to_bytes(self) -> bytes:
        """Return it as a compressed npz."""
        stored = io.BytesIO()
        matrices = {f"to_{role}": matrix for role, matrix in self.to_series.items()}
        np.savez_compressed(stored, brain=self.brain, affine=self.grid.affine, **matrices)  # type: ignore[arg-type]
        return stored.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> StudySpace:
        """Return what `to_bytes` wrote. Raises ValueError, KeyError, OSError, InvalidVolume for anything else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            brain = stored["brain"]
            return cls(
                to_series={role: stored[f"to_{role}"] for role in SeriesRole if f"to_{role}" in stored},
                brain=brain,
                grid=Grid(shape=brain.shape, affine=stored["affine"]),
            )
