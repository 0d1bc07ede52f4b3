"""A series of DICOM files to one Volume in RAS+ mm: one of the two doors between LPS+ and RAS+ (docs/coordinates.md).

dicom2nifti converts; our own ordered list of slices and our own affine are the truth it is held to, voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import SeriesRefused
from dicom_node.inbound import converter, pixels
from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.parsing import parse_file
from dicom_node.inbound.refusals import ObjectUnreadable, Refusal
from dicom_node.inbound.slice_geometry import (
    SAME_POSITION_MM,
    Plane,
    check_planes,
    order_stack,
    planes_of,
    position_residual_mm,
    positions_mm,
    stack_affine,
)
from pipeline.volume import Grid, Volume

#: The two affines may put no corner of the volume further apart than this.
AFFINE_TOLERANCE_MM = 0.01

#: A slice further than this from the affine's lattice is mentioned in `ConvertedSeries.notes`.
RESIDUAL_NOTED_MM = 0.01


@dataclass(frozen=True, kw_only=True)
class SourceSlice:
    """Where slice k of a volume came from. frame_number: 1-based, None for a single-frame object."""

    sop_instance_uid: str
    frame_number: int | None
    path: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvertedSeries:
    """One series as a volume that still knows its slices.

    volume: voxel (i, j, k) is (column index, row index, slice), k rising along the normal, affine to RAS+ mm.
    sources: one a slice, in k order. notes: what a reader of the result should know. position_residual_mm: largest
    distance between a slice's own position and the volume's lattice.
    """

    series_instance_uid: str
    volume: Volume
    sources: tuple[SourceSlice, ...]
    frame_of_reference_uid: str
    rows: int
    columns: int
    notes: tuple[str, ...] = ()
    position_residual_mm: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    plane: Plane
    path: Path
    stored: NDArray[np.generic]
    rescale: pixels.Rescale
    philips_slope: float | None


def load_series(paths: Sequence[Path], headers: Sequence[InstanceHeader] | None = None) -> ConvertedSeries:
    """Read, decode, order and convert one series.

    headers: of `paths`, in the same order; read from the files where not given.

    Raises:
        SeriesRefused: with a code of `inbound.refusals.Refusal`.
        OSError: a file cannot be read.
    """
    if headers is None:
        headers = [_header(path) for path in paths]
    if not paths or len(paths) != len(headers):
        raise ValueError(f"{len(paths)} files and {len(headers)} headers do not make a series")
    series = headers[0].series_instance_uid
    _check_headers(headers, series)
    # All that headers can show is checked before any pixel is decoded.
    planes = planes_of(headers)
    check_planes(planes, series)
    if sum(p.rows * p.columns for p in planes) > pixels.MAX_VOXELS:
        raise SeriesRefused(Refusal.TOO_LARGE, series, f"{len(planes)} slices are over {pixels.MAX_VOXELS} voxels")

    slices, doubles = _without_doubles([s for p, h in zip(paths, headers, strict=True) for s in _slices_of(p, h)])
    order = order_stack([s.plane for s in slices], series)
    slices = [slices[i] for i in order]
    ordered = [s.plane for s in slices]
    rescales, scale_note = pixels.consistent_rescales([s.rescale for s in slices], [s.philips_slope for s in slices])
    expected = np.stack(
        [s.stored.astype(np.float64).T * r.slope + r.intercept for s, r in zip(slices, rescales, strict=True)], axis=2
    )
    _check_values(expected, series)
    voxels, affine = converter.convert(ordered, [s.stored for s in slices], rescales, series)
    ours = stack_affine(ordered)
    _hold_to_ours(voxels, affine, expected.astype(np.float32), ours, series)

    residual = position_residual_mm(ordered, ours)
    notes = [scale_note] if scale_note else []
    if doubles:
        notes.append(f"{doubles} slices were there twice with the same pixels; one of each was used")
    if residual > RESIDUAL_NOTED_MM:
        notes.append(f"slices lie up to {residual:.3f} mm off an even lattice")
    return ConvertedSeries(
        series_instance_uid=series,
        volume=Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=ours)),
        sources=tuple(
            SourceSlice(sop_instance_uid=s.plane.sop_instance_uid, frame_number=s.plane.frame_number, path=s.path)
            for s in slices
        ),
        frame_of_reference_uid=headers[0].frame_of_reference_uid,
        rows=ordered[0].rows,
        columns=ordered[0].columns,
        notes=tuple(notes),
        position_residual_mm=residual,
    )


def _header(path: Path) -> InstanceHeader:
    try:
        return read_header(path)
    except ObjectUnreadable as error:
        raise SeriesRefused(Refusal.UNDECODABLE, "unknown", f"file {path.name}: {error.reason}") from error


def _check_headers(headers: Sequence[InstanceHeader], series: str) -> None:
    """One series, one frame of reference, MR images only, frame counts that fit."""
    if len({h.series_instance_uid for h in headers}) > 1:
        raise SeriesRefused(Refusal.NOT_A_VOLUME, series, "the files belong to several series")
    if foreign := next((h for h in headers if not h.is_mr_image), None):
        raise SeriesRefused(Refusal.NOT_AN_IMAGE, series, f"SOP class {foreign.sop_class_uid} is not an MR image")
    if len({h.frame_of_reference_uid for h in headers}) > 1:
        raise SeriesRefused(Refusal.GEOMETRY_INVALID, series, "its slices name several frames of reference")
    if any(h.number_of_frames != max(1, len(h.frames)) for h in headers):
        raise SeriesRefused(Refusal.GEOMETRY_INVALID, series, "NumberOfFrames and the per-frame groups disagree")


def _slices_of(path: Path, header: InstanceHeader) -> list[_Slice]:
    try:
        dataset = parse_file(path, stop_before_pixels=False)
    except ObjectUnreadable as error:
        raise SeriesRefused(
            Refusal.UNDECODABLE, header.series_instance_uid, f"instance {header.sop_instance_uid}: {error.reason}"
        ) from error
    stored = pixels.decode(dataset, header)
    scale = pixels.philips_scale_slope(dataset)
    rescales = pixels.rescales_of(dataset, header)
    return [
        _Slice(plane=plane, path=path, stored=frame, rescale=rescale, philips_slope=scale)
        for plane, frame, rescale in zip(planes_of([header]), stored, rescales, strict=True)
    ]


def _without_doubles(slices: list[_Slice]) -> tuple[list[_Slice], int]:
    """Drop a slice whose position and pixels another one has too (a series sent twice under new instance UIDs)."""
    along = positions_mm([s.plane for s in slices])
    kept: list[_Slice] = []
    last_mm: list[float] = []
    for index in np.argsort(along, kind="stable"):
        candidate = slices[index]
        twins = (
            k for k, mm in zip(reversed(kept), reversed(last_mm), strict=True) if along[index] - mm < SAME_POSITION_MM
        )
        if not any(np.array_equal(candidate.stored, twin.stored) for twin in twins):
            kept.append(candidate)
            last_mm.append(float(along[index]))
    return kept, len(slices) - len(kept)


def _check_values(expected: NDArray[np.float64], series: str) -> None:
    if not np.isfinite(expected).all() or np.abs(expected).max() > np.finfo(np.float32).max:
        raise SeriesRefused(Refusal.PIXELS_INVALID, series, "rescaling gives values that are not finite")
    if expected.min() == expected.max():
        raise SeriesRefused(Refusal.PIXELS_INVALID, series, "every voxel has the same value")


def _hold_to_ours(
    voxels: NDArray[np.float32],
    affine: NDArray[np.float64],
    our_voxels: NDArray[np.float32],
    our_affine: NDArray[np.float64],
    series: str,
) -> None:
    """Refuse a conversion that lost, moved or changed anything.

    Raises:
        SeriesRefused: AFFINE_DISAGREES or VOXELS_DISAGREE.
    """
    if voxels.shape != our_voxels.shape:
        raise SeriesRefused(
            Refusal.VOXELS_DISAGREE, series, f"dicom2nifti made {voxels.shape} of slices that give {our_voxels.shape}"
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in voxels.shape])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    apart = float(np.linalg.norm(((affine - our_affine) @ corners)[:3], axis=0).max())
    if not apart <= AFFINE_TOLERANCE_MM:
        raise SeriesRefused(Refusal.AFFINE_DISAGREES, series, f"two readings of its geometry lie {apart:.3f} mm apart")
    if not np.allclose(voxels, our_voxels, rtol=1e-5, atol=1e-6 * float(np.abs(our_voxels).max())):
        raise SeriesRefused(Refusal.VOXELS_DISAGREE, series, "dicom2nifti returned other voxels than the files hold")
