"""Voxels on a grid in patient space.

Inside `pipeline` a voxel is indexed (i, j, k) and `Grid.affine` leads from there to RAS+ millimetres (x to the
patient's right, y to the front, z up), as in NIfTI. DICOM's LPS+ appears only at the two doors,
`dicom_node/inbound/conversion.py` and `dicom_node/results/seg.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidVolume

FloatArray = NDArray[np.float32]
LabelArray = NDArray[np.uint8]


class SeriesRole(StrEnum):
    """The contrast a series shows. (DICOM's Modality says 'MR' for all four.)"""

    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"


#: Which role gives the reference grid, best first: SEG belongs on T1CE, else on FLAIR.
REFERENCE_ORDER: tuple[SeriesRole, ...] = (SeriesRole.T1CE, SeriesRole.FLAIR, SeriesRole.T1, SeriesRole.T2)

#: Order of the channels of every 4-channel array.
CHANNEL_ORDER: tuple[SeriesRole, ...] = (SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2, SeriesRole.FLAIR)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A regular lattice of voxel centres.

    shape: (I, J, K). affine: float64 (4, 4), voxel index (i, j, k, 1) to RAS+ mm.

    Raises:
        InvalidVolume: a side below 1, a non-finite or singular affine.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InvalidVolume(f"a grid needs three sides of at least one voxel, not {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise InvalidVolume("a grid needs a finite 4 x 4 affine whose last row is 0 0 0 1")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise InvalidVolume("the grid's affine is singular: two of its axes are parallel or one has no length")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j and k, in mm."""
        i, j, k = (float(n) for n in np.linalg.norm(self.affine[:3, :3], axis=0))
        return i, j, k

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """True where both grids have one shape and no affine entry differs by more than `tolerance_mm`."""
        return self.shape == other.shape and bool(np.allclose(self.affine, other.affine, rtol=0, atol=tolerance_mm))


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """One scalar image. voxels: float32 (I, J, K), finite, on `grid`.

    Raises:
        InvalidVolume: shape differs from the grid's, or a voxel is NaN or infinite.
    """

    voxels: FloatArray
    grid: Grid

    def __post_init__(self) -> None:
        voxels = np.asarray(self.voxels, dtype=np.float32)
        object.__setattr__(self, "voxels", voxels)
        if voxels.shape != self.grid.shape:
            raise InvalidVolume(f"voxels of shape {voxels.shape} do not fit a grid of shape {self.grid.shape}")
        if not np.isfinite(voxels).all():
            raise InvalidVolume("a volume holds NaN or infinite voxels; rescale the series before analysis")
