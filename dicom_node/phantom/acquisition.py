"""How each series samples the head: its own grid, its slice thickness, its timing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dicom_node.phantom.contrast import PulseSequence
from dicom_node.phantom.fields import Point
from dicom_node.phantom.motion import rigid
from pipeline.volume import Grid, SeriesRole

Size = Literal["standard", "small"]
Plane = Literal["axial", "sagittal", "coronal"]

#: Directions in which i (along a row), j (down a column) and k grow, RAS: an axial image has the patient's right on its
#: left, a sagittal one the nose. k follows the slice normal, row direction x column direction.
_AXES: dict[Plane, tuple[Point, Point, Point]] = {
    "axial": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    "coronal": ((-1, 0, 0), (0, 0, -1), (0, -1, 0)),
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Where a series is measured. columns by rows pixels of pixel_mm, `slices` slices step_mm apart, centred.

    thickness_mm: measured by each slice; less than step_mm leaves gaps. tilt_deg: rotation of the whole stack about
    x, y and z. centre_mm: middle of the stack, RAS.
    """

    plane: Plane
    columns: int
    rows: int
    slices: int
    pixel_mm: float
    step_mm: float
    thickness_mm: float
    three_dimensional: bool
    tilt_deg: Point = (0.0, 0.0, 0.0)
    centre_mm: Point = (0.0, -1.0, 3.0)

    def grid(self) -> Grid:
        """The lattice of voxel centres: i along a row (columns), j down a column (rows), k through the slices."""
        turn = rigid(self.tilt_deg, (0, 0, 0))[:3, :3]
        axes = turn @ np.array(_AXES[self.plane], dtype=np.float64).T
        affine = np.eye(4)
        affine[:3, :3] = axes * (self.pixel_mm, self.pixel_mm, self.step_mm)
        shape = (self.columns, self.rows, self.slices)
        affine[:3, 3] = np.asarray(self.centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        return Grid(shape=shape, affine=affine)


_STANDARD: dict[SeriesRole, Sampling] = {
    SeriesRole.T1: Sampling(
        plane="sagittal",
        columns=240,
        rows=240,
        slices=144,
        pixel_mm=1.0,
        step_mm=1.2,
        thickness_mm=1.2,
        three_dimensional=True,
        centre_mm=(0.0, 0.0, -8.0),
    ),
    SeriesRole.T1CE: Sampling(
        plane="axial",
        columns=240,
        rows=240,
        slices=150,
        pixel_mm=1.0,
        step_mm=1.0,
        thickness_mm=1.0,
        three_dimensional=True,
        centre_mm=(0.0, 0.0, 4.0),
    ),
    SeriesRole.T2: Sampling(
        plane="axial",
        columns=320,
        rows=320,
        slices=26,
        pixel_mm=0.7188,
        step_mm=6.0,
        thickness_mm=5.0,
        three_dimensional=False,
        centre_mm=(0.0, 0.0, 2.0),
    ),
    SeriesRole.FLAIR: Sampling(
        plane="axial",
        columns=256,
        rows=256,
        slices=32,
        pixel_mm=0.9,
        step_mm=4.8,
        thickness_mm=4.0,
        three_dimensional=False,
        centre_mm=(0.0, 0.0, 2.0),
    ),
}
_SMALL: dict[SeriesRole, Sampling] = {
    SeriesRole.T1: Sampling(
        plane="sagittal", columns=116, rows=112, slices=54, pixel_mm=2.0, step_mm=3.0, thickness_mm=3.0,
        three_dimensional=True, centre_mm=(0.0, 0.0, -8.0),
    ),
    SeriesRole.T1CE: Sampling(
        plane="axial", columns=112, rows=112, slices=56, pixel_mm=2.0, step_mm=2.75, thickness_mm=2.75,
        three_dimensional=True, centre_mm=(0.0, 0.0, 4.0),
    ),
    SeriesRole.T2: Sampling(
        plane="axial", columns=112, rows=112, slices=26, pixel_mm=2.0, step_mm=6.0, thickness_mm=5.0,
        three_dimensional=False, centre_mm=(0.0, 0.0, 2.0),
    ),
    SeriesRole.FLAIR: Sampling(
        plane="axial", columns=112, rows=112, slices=32, pixel_mm=2.0, step_mm=4.8, thickness_mm=4.0,
        three_dimensional=False, centre_mm=(0.0, 0.0, 2.0),
    ),
}  # fmt: skip


def sampling(role: SeriesRole, size: Size, tilt_deg: float) -> Sampling:
    """The sampling of a role; `tilt_deg` tilts the FLAIR stack about the ear-to-ear axis, and a little about z."""
    plain = (_STANDARD if size == "standard" else _SMALL)[role]
    if role is not SeriesRole.FLAIR:
        return plain
    return replace(plain, tilt_deg=(tilt_deg, 0.0, tilt_deg / 5))


def head_grid(size: Size) -> Grid:
    """The fine lattice the head is drawn on once before the series sample it; fixed to the head."""
    spacing = 1.0 if size == "standard" else 2.0
    low, high = np.array((-88.0, -108.0, -118.0)), np.array((88.0, 112.0, 92.0))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    i, j, k = (int(n) for n in (high - low) / spacing + 1)
    return Grid(shape=(i, j, k), affine=affine)


#: Timing of each role; vendors.py overrides what a vendor does otherwise.
SEQUENCES: dict[SeriesRole, PulseSequence] = {
    SeriesRole.T1: PulseSequence(
        kind="mprage", repetition_ms=2300, echo_ms=2.32, inversion_ms=900, flip_deg=8, echo_spacing_ms=7.1, train=176
    ),
    SeriesRole.T1CE: PulseSequence(
        kind="mprage", repetition_ms=2300, echo_ms=2.32, inversion_ms=900, flip_deg=8, echo_spacing_ms=7.1, train=176,
        gadolinium=1.0,
    ),
    SeriesRole.T2: PulseSequence(kind="se", repetition_ms=5600, echo_ms=94, train=18),
    SeriesRole.FLAIR: PulseSequence(kind="flair", repetition_ms=9000, echo_ms=93, inversion_ms=2500, train=16),
}  # fmt: skip
