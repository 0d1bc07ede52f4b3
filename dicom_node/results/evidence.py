"""What a result is about: the reference series, slice by slice, and the other series that were read.

A voxel (i, j, k) of the reference grid is column i, row j of the k-th of `slices`, and that stays true through SEG:
results are written in this order and never re-sorted by position alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from dicom_node.errors import Permanent
from pipeline.volume import Grid, SeriesRole, Volume

#: RAS+ and LPS+ differ by the sign of x and y; the same diagonal leads both ways.
_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class EvidenceMismatch(Permanent):
    """The source images do not fit the grid they are said to be: a slice is missing, moved or of another size."""

    code = "evidence-mismatch"

    def __init__(self, series_instance_uid: str, reason: str) -> None:
        super().__init__(f"series {series_instance_uid}: {reason}; convert the series again before encoding results")
        self.series_instance_uid = series_instance_uid


@dataclass(frozen=True, kw_only=True)
class SliceSource:
    """Where slice k of a volume came from. frame_number counts from 1; None for a single-frame image."""

    sop_instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class SeriesEvidence:
    """A series that was analysed but carries no result. instances: (SOP Class UID, SOP Instance UID)."""

    role: SeriesRole
    series_instance_uid: str
    instances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceSeries:
    """The series whose grid carries the results.

    datasets: headers without pixels; single-frame images in k order, or enhanced multi-frame instances.
    slices: K sources in k order. grid: shape (columns, rows, K), affine to RAS+ mm.

    Raises:
        EvidenceMismatch: number, size, orientation or position of the slices differs from the grid.
    """

    datasets: tuple[Dataset, ...]
    slices: tuple[SliceSource, ...]
    grid: Grid

    def __post_init__(self) -> None:
        if not self.datasets:
            raise EvidenceMismatch("(unknown)", "no source image was given")
        columns, rows, slice_count = self.grid.shape
        first = self.first
        if len(self.slices) != slice_count:
            raise EvidenceMismatch(self.series_instance_uid, f"{len(self.slices)} slices for {slice_count} of the grid")
        if not first.get("FrameOfReferenceUID"):
            raise EvidenceMismatch(self.series_instance_uid, "it has no Frame of Reference UID")
        if not self.multi_frame and [str(d.SOPInstanceUID) for d in self.datasets] != [
            s.sop_instance_uid for s in self.slices
        ]:
            raise EvidenceMismatch(self.series_instance_uid, "the images are not in the order of the slices")
        for dataset in self.datasets:
            if (int(dataset.Columns), int(dataset.Rows)) != (columns, rows):
                raise EvidenceMismatch(self.series_instance_uid, "the images' rows and columns differ from the grid's")
        self._check_positions()

    def _check_positions(self) -> None:
        """Hold every slice to the grid: less than half a voxel away, axes within 1 degree."""
        affine = _RAS_LPS @ self.grid.affine
        spacing = np.array(self.grid.spacing_mm)
        axes = affine[:3, :3] / spacing
        for k in range(len(self.slices)):
            position, orientation = slice_geometry(self, k)
            along_axes = np.abs(np.linalg.solve(axes, position - (affine @ (0, 0, k, 1))[:3]))
            if (along_axes > 0.45 * spacing).any():
                raise EvidenceMismatch(self.series_instance_uid, f"slice {k} lies elsewhere than the grid says")
            if min(orientation[:3] @ axes[:, 0], orientation[3:] @ axes[:, 1]) < np.cos(np.deg2rad(1.0)):
                raise EvidenceMismatch(self.series_instance_uid, f"slice {k} has another orientation than the grid")

    @property
    def first(self) -> Dataset:
        """The header that patient and study identity are taken from."""
        return self.datasets[0]

    @property
    def multi_frame(self) -> bool:
        """True where enhanced multi-frame instances hold the slices."""
        return "PerFrameFunctionalGroupsSequence" in self.first

    def frame_groups(self, k: int) -> Dataset:
        """The per-frame functional groups of slice k of a multi-frame series.

        Raises:
            EvidenceMismatch: the slice names no frame of these images.
        """
        source = self.slices[k]
        image = next((d for d in self.datasets if str(d.SOPInstanceUID) == source.sop_instance_uid), None)
        if image is None or source.frame_number is None:
            raise EvidenceMismatch(self.series_instance_uid, f"slice {k} names no frame of the multi-frame images")
        frame: Dataset = image.PerFrameFunctionalGroupsSequence[source.frame_number - 1]
        return frame

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID, the study every result joins."""
        return str(self.first.StudyInstanceUID)

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID of the reference series."""
        return str(self.first.SeriesInstanceUID)

    @property
    def frame_of_reference_uid(self) -> str:
        """Frame of Reference UID that results share."""
        return str(self.first.FrameOfReferenceUID)


@dataclass(frozen=True, kw_only=True)
class HistoryPoint:
    """One earlier study of the patient, or this one. study_date: YYYYMMDD. volumes_ml: by subject ('WT', 'ET', ...)."""

    study_date: str
    volumes_ml: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All source images of one analysis.

    volume: the reference series' voxels on its grid, for pictures; None where none are to be drawn. history: the
    patient's studies by date, this one the last; empty where no earlier one is known.
    """

    reference: ReferenceSeries
    others: tuple[SeriesEvidence, ...] = ()
    volume: Volume | None = None
    history: tuple[HistoryPoint, ...] = ()


def slice_geometry(reference: ReferenceSeries, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image Position (3,) and Image Orientation (6,) of slice k in LPS+ mm, as its header states them."""
    if not reference.multi_frame:
        dataset = reference.datasets[k]
        return _floats(dataset.ImagePositionPatient), _floats(dataset.ImageOrientationPatient)
    frame = reference.frame_groups(k)
    shared = reference.first.SharedFunctionalGroupsSequence[0]
    orientation = frame if "PlaneOrientationSequence" in frame else shared
    return (
        _floats(frame.PlanePositionSequence[0].ImagePositionPatient),
        _floats(orientation.PlaneOrientationSequence[0].ImageOrientationPatient),
    )


def ras_to_lps(points_mm: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """(n, 3) points from RAS+ mm to the LPS+ mm of DICOM."""
    lps: NDArray[np.float64] = np.asarray(points_mm, dtype=np.float64) * np.diag(_RAS_LPS)[:3]
    return lps


def load_evidence(
    paths: Sequence[Path],
    slices: Sequence[SliceSource],
    grid: Grid,
    others: Sequence[SeriesEvidence] = (),
) -> Evidence:
    """Read the reference series' headers (pixels stay on disk) and put them in the order of `slices`.

    paths: the series' files, in any order; files of other instances are left out.

    Raises:
        EvidenceMismatch: a slice's instance is not among the files, or does not fit the grid.
    """
    headers = {str(d.SOPInstanceUID): d for d in (dcmread(path, stop_before_pixels=True) for path in paths)}
    ordered = dict.fromkeys(s.sop_instance_uid for s in slices)
    missing = [uid for uid in ordered if uid not in headers]
    if missing:
        raise EvidenceMismatch("(of the reference)", f"instance {missing[0]} and {len(missing) - 1} more are not there")
    reference = ReferenceSeries(datasets=tuple(headers[uid] for uid in ordered), slices=tuple(slices), grid=grid)
    return Evidence(reference=reference, others=tuple(others))


def _floats(value: object) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64)
