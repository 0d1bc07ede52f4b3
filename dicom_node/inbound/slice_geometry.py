"""Slices in space: order along the normal, gaps, doubles, tilt, and the affine. Pure; header values in, values out.

Positions (ImagePositionPatient) rule; SliceThickness and SpacingBetweenSlices are not consulted, since they contradict
the positions in real data. DICOM's LPS+ mm becomes RAS+ mm in `stack_affine` and nowhere else on the way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.refusals import Refusal

MIN_SLICES = 4

#: Cosines of two slices of one series may differ by this much (rounding of the decimal strings).
ORIENTATION_TOLERANCE = 1e-3

#: Neighbouring distances may leave the median by the larger of these.
SPACING_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_FRACTION = 0.05

#: Two slices nearer than this along the normal are at one position.
SAME_POSITION_MM = 0.01

#: Sideways drift over the whole stack allowed before it counts as gantry tilt: fraction of its length, and mm.
TILT_FRACTION = 0.01
TILT_MM = 0.5


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One slice's place. position LPS mm; orientation row then column cosines; pixel_spacing_mm between rows, columns.

    frame_number is 1-based within a multi-frame object and None for a classic one.
    """

    sop_instance_uid: str
    frame_number: int | None
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    rows: int
    columns: int

    @property
    def usable(self) -> bool:
        """True where position, orthonormal orientation and positive spacing are all there."""
        if len(self.position) != 3 or len(self.orientation) != 6 or len(self.pixel_spacing_mm) != 2:
            return False
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        unit = abs(np.linalg.norm(row) - 1) < 0.01 and abs(np.linalg.norm(column) - 1) < 0.01
        return bool(unit and abs(row @ column) < 0.01) and min(*self.pixel_spacing_mm, self.rows, self.columns) > 0


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A place where the distance to the next slice is not the series' step. missing: 0 where it is merely uneven."""

    after_index: int
    position_mm: float
    distance_mm: float
    missing: int


def planes_of(headers: Iterable[InstanceHeader]) -> tuple[Plane, ...]:
    """Every slice of the instances, frames of multi-frame objects one by one, in the order given."""
    planes: list[Plane] = []
    for h in headers:
        rows, columns = h.rows or 0, h.columns or 0
        if h.frames:
            planes.extend(
                Plane(
                    sop_instance_uid=h.sop_instance_uid, frame_number=f.number, position=f.position,
                    orientation=f.orientation, pixel_spacing_mm=f.pixel_spacing_mm, rows=rows, columns=columns,
                )
                for f in h.frames
            )  # fmt: skip
        else:
            planes.append(
                Plane(
                    sop_instance_uid=h.sop_instance_uid, frame_number=None, position=h.position,
                    orientation=h.orientation, pixel_spacing_mm=h.pixel_spacing_mm, rows=rows, columns=columns,
                )
            )  # fmt: skip
    return tuple(planes)


def normal_of(plane: Plane) -> NDArray[np.float64]:
    """Unit normal, row cosines x column cosines, LPS. Needs `plane.usable`."""
    normal = np.cross(plane.orientation[:3], plane.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def positions_mm(planes: Sequence[Plane]) -> NDArray[np.float64]:
    """(n,) distance of each plane along the first plane's normal, in mm. All planes usable."""
    return np.array([p.position for p in planes], dtype=np.float64) @ normal_of(planes[0])


def find_gaps(sorted_mm: NDArray[np.float64]) -> tuple[Gap, ...]:
    """Places where neighbouring distances leave the median. sorted_mm: (n,) ascending, no doubles."""
    if len(sorted_mm) < 3:
        return ()
    distances = np.diff(sorted_mm)
    step = float(np.median(distances))
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_FRACTION * step)
    gaps = []
    for index in np.flatnonzero(np.abs(distances - step) > tolerance):
        distance = float(distances[index])
        whole = round(distance / step)
        missing = whole - 1 if whole > 1 and abs(distance - whole * step) <= tolerance * whole else 0
        gaps.append(
            Gap(after_index=int(index), position_mm=float(sorted_mm[index]), distance_mm=distance, missing=missing)
        )
    return tuple(gaps)


def check_planes(planes: Sequence[Plane], series_instance_uid: str) -> None:
    """Refuse planes that cannot form one stack, whatever their order and spacing.

    Raises:
        SeriesRefused: GEOMETRY_INVALID, TOO_FEW_SLICES or ORIENTATION_INCONSISTENT.
    """

    def refuse(code: Refusal, reason: str) -> SeriesRefused:
        return SeriesRefused(code, series_instance_uid, reason)

    if unusable := sum(not p.usable for p in planes):
        raise refuse(
            Refusal.GEOMETRY_INVALID,
            f"{unusable} of {len(planes)} slices have no valid position, orientation or pixel spacing",
        )
    if len(planes) < MIN_SLICES:
        raise refuse(Refusal.TOO_FEW_SLICES, f"{len(planes)} slices where at least {MIN_SLICES} are needed")
    orientations = np.array([p.orientation for p in planes])
    if (np.abs(orientations - orientations[0]) > ORIENTATION_TOLERANCE).any():
        raise refuse(Refusal.ORIENTATION_INCONSISTENT, "its slices are not parallel: several stacks in one series")
    spacings = np.array([p.pixel_spacing_mm for p in planes])
    if (np.abs(spacings - spacings[0]) > 1e-3).any() or len({(p.rows, p.columns) for p in planes}) > 1:
        raise refuse(Refusal.GEOMETRY_INVALID, "its slices differ in pixel spacing or matrix size")


def order_stack(planes: Sequence[Plane], series_instance_uid: str) -> tuple[int, ...]:
    """Indices of `planes` sorted along the normal; checked to be one evenly spaced, untilted stack.

    Raises:
        SeriesRefused: what `check_planes` raises, NOT_A_VOLUME, DUPLICATE_POSITION, GEOMETRY_GAP or GANTRY_TILT.
    """
    check_planes(planes, series_instance_uid)
    along = positions_mm(planes)
    order = np.argsort(along, kind="stable")
    along = along[order]
    distances = np.diff(along)
    doubles = int((distances < SAME_POSITION_MM).sum())
    distinct = len(planes) - doubles
    if doubles and distinct > 0 and len(planes) % distinct == 0 and _equal_groups(distances, len(planes) // distinct):
        raise SeriesRefused(
            Refusal.NOT_A_VOLUME, series_instance_uid,
            f"{len(planes) // distinct} images at each of {distinct} positions: several echoes, times or b-values",
        )  # fmt: skip
    if doubles:
        where = float(along[int(np.argmin(distances))])
        raise SeriesRefused(
            Refusal.DUPLICATE_POSITION, series_instance_uid,
            f"{doubles} slices share a position with another of different content, the first at {where:.1f} mm",
        )  # fmt: skip
    if gaps := find_gaps(along):
        raise SeriesRefused(Refusal.GEOMETRY_GAP, series_instance_uid, describe_gaps(gaps))
    corners = np.array([planes[i].position for i in order])
    travel = corners[-1] - corners[0]
    normal = normal_of(planes[0])
    drift = float(np.linalg.norm(travel - (travel @ normal) * normal))
    if drift > TILT_MM and drift > TILT_FRACTION * float(np.linalg.norm(travel)):
        raise SeriesRefused(Refusal.GANTRY_TILT, series_instance_uid, f"the stack drifts {drift:.1f} mm sideways")
    return tuple(int(i) for i in order)


def stack_affine(ordered: Sequence[Plane]) -> NDArray[np.float64]:
    """(4, 4): voxel (column index, row index, slice index) to RAS+ mm, of planes ordered along their normal."""
    first, last = ordered[0], ordered[-1]
    between_rows, between_columns = first.pixel_spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * between_columns
    affine[:3, 1] = np.array(first.orientation[3:]) * between_rows
    affine[:3, 2] = (np.array(last.position) - np.array(first.position)) / (len(ordered) - 1)
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def position_residual_mm(ordered: Sequence[Plane], affine: NDArray[np.float64]) -> float:
    """Largest distance between a slice's own position and where `affine` puts its first pixel, in mm."""
    indices = np.zeros((4, len(ordered)))
    indices[2], indices[3] = np.arange(len(ordered)), 1.0
    lps = (affine @ indices)[:3].T * (-1.0, -1.0, 1.0)
    return float(np.linalg.norm(lps - np.array([p.position for p in ordered]), axis=1).max())


def describe_gaps(gaps: Sequence[Gap]) -> str:
    """'gap at 12.5 mm: 1 slice missing (and 2 more gaps)'."""
    first = gaps[0]
    plural = "" if first.missing == 1 else "s"
    lost = f"{first.missing} slice{plural} missing" if first.missing else "uneven spacing"
    more = f" (and {len(gaps) - 1} more)" if len(gaps) > 1 else ""
    return f"gap at {first.position_mm:.1f} mm: {lost}, {first.distance_mm:.2f} mm to the next slice{more}"


def _equal_groups(distances: NDArray[np.float64], size: int) -> bool:
    """True where every `size` neighbours sit at one position and each such group at another."""
    same = distances < SAME_POSITION_MM
    return all(bool(s) == ((i + 1) % size != 0) for i, s in enumerate(same))
