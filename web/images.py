"""Slices of a run's reference series, with and without the segmentation over them, as PNG."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from PIL import Image

from pipeline.overlay import Plane, overlay_slice, overlay_slice_on, slice_count
from pipeline.volume import Grid, LabelArray, SeriesRole, Volume

REFERENCE_FILE = "reference.nii.gz"
SEGMENTATION_FILE = "segmentation.nii.gz"
_KEPT = 4


class ViewVolume(StrEnum):
    """A volume of a run that a viewer may load: a series on the reference's grid, the brain alone, the labels."""

    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"
    BRAIN = "BRAIN"
    LABELS = "LABELS"


def volume_file(folder: Path, name: ViewVolume, reference_role: str) -> Path | None:
    """Return the NIfTI file of a run to show, None where it has none (yet). The reference series is always there."""
    if name is ViewVolume.LABELS:
        path = folder / SEGMENTATION_FILE
    else:
        path = folder / f"view-{name.lower()}.nii.gz"
        if name == reference_role and not path.is_file():
            path = folder / REFERENCE_FILE
    return path if path.is_file() and not path.is_symlink() else None


def shown_series(folder: Path, reference_role: str) -> list[SeriesRole]:
    """Return the series that can be looked at on the reference's grid."""
    return [role for role in SeriesRole if volume_file(folder, ViewVolume(role.value), reference_role)]


class NoImages(LookupError):
    """The run has no reference series on disk (it is not finished, or its inputs could not be read)."""


class NoSuchSlice(LookupError):
    """The index lies outside the volume. `count` is how many slices the axis has."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the axis has {count} slices")
        self.count = count


@dataclass(frozen=True, kw_only=True, eq=False)
class RunImages:
    """A series of a run on the reference's grid, and its labels on the same; None where nothing was segmented."""

    reference: Volume
    labels: LabelArray | None


def load_run_images(folder: Path, file: str = REFERENCE_FILE) -> RunImages:
    """Read two NIfTI files of one run. file: of the series to show.

    Raises:
        NoImages: no such file, or one that cannot be read.
    """
    try:
        image = nib.Nifti1Image.from_filename(folder / file)
        reference = Volume(
            voxels=np.asarray(image.dataobj, dtype=np.float32), grid=Grid(shape=image.shape, affine=image.affine)
        )
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise NoImages("the run has no readable reference series") from error
    labels_file = folder / SEGMENTATION_FILE
    labels: LabelArray | None = None
    if labels_file.is_file():
        labels = np.asarray(nib.Nifti1Image.from_filename(labels_file).dataobj).astype(np.uint8)
        if labels.shape != reference.grid.shape:
            labels = None
    return RunImages(reference=reference, labels=labels)


@dataclass(frozen=True, kw_only=True)
class PlaneView:
    """One plane: how many slices, which to show first, and the letter at each edge of the picture."""

    plane: Plane
    count: int
    start: int
    sides: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Planes:
    """The three planes of a run's images."""

    planes: tuple[PlaneView, ...]
    has_labels: bool


#: World axis (0 right, 1 front, 2 up) each plane is a stack along.
_NORMAL = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}
_SIDES = {
    Plane.AXIAL: (("left", "R"), ("right", "L"), ("up", "A"), ("down", "P")),
    Plane.CORONAL: (("left", "R"), ("right", "L"), ("up", "S"), ("down", "I")),
    Plane.SAGITTAL: (("left", "A"), ("right", "P"), ("up", "S"), ("down", "I")),
}


class SliceRenderer:
    """Renders slices, keeping the volumes of the runs looked at last. Threads may share one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str, int], RunImages] = OrderedDict()
        self._lock = threading.Lock()

    def planes(self, folder: Path) -> Planes:
        """Return the planes of one run.

        Raises:
            NoImages: as `load_run_images`.
        """
        images = self.images(folder)
        return Planes(planes=tuple(_view(images, plane) for plane in Plane), has_labels=images.labels is not None)

    def png(self, folder: Path, plane: Plane, index: int, opacity: float, file: str = REFERENCE_FILE) -> bytes:
        """Return one slice as PNG. opacity: of the segmentation, 0 (none) to 1. file: of the series to show.

        Raises:
            NoImages: as `load_run_images`. NoSuchSlice: the index lies outside the volume.
        """
        images = self.images(folder, file)
        count = slice_count(images.reference.grid, plane)
        if not 0 <= index < count:
            raise NoSuchSlice(count)
        labels = images.labels if opacity > 0 else None
        return encoded(overlay_slice(images.reference, labels, plane, index, opacity))

    def png_on(
        self, folder: Path, other: Path, to_other: NDArray[np.float64], plane: Plane, index: int, opacity: float
    ) -> bytes:
        """Return another run's images as they lie on one slice of this run's, as PNG.

        folder, other: of the two runs. to_other: (4, 4), from a point of this run's reference to that of the other.

        Raises:
            NoImages: as `load_run_images`. NoSuchSlice: the index lies outside this run's volume.
        """
        grid, images = self.images(folder).reference.grid, self.images(other)
        count = slice_count(grid, plane)
        if not 0 <= index < count:
            raise NoSuchSlice(count)
        labels = images.labels if opacity > 0 else None
        return encoded(overlay_slice_on(images.reference, labels, grid, to_other, plane, index, opacity))

    def images(self, folder: Path, file: str = REFERENCE_FILE) -> RunImages:
        """Return a run's images, read once while they are looked at.

        Raises:
            NoImages: as `load_run_images`.
        """
        try:
            key = (folder, file, (folder / file).stat().st_mtime_ns)
        except OSError as error:
            raise NoImages("the run has no such series on disk") from error
        # One reader at a time: a page asks for several slices of a scan at once, and one reading serves them all.
        with self._lock:
            images = self._kept.pop(key, None) or load_run_images(folder, file)
            self._kept[key] = images
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return images


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture, uint8 (H, W, 3), as PNG."""
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG", compress_level=3)
    return stored.getvalue()


def _view(images: RunImages, plane: Plane) -> PlaneView:
    """The slice with most of the tumour comes first, else the middle one."""
    grid = images.reference.grid
    count = slice_count(grid, plane)
    start = count // 2
    if images.labels is not None and images.labels.any():
        orientation = nib.io_orientation(grid.affine)
        along = int(np.flatnonzero(orientation[:, 0] == _NORMAL[plane])[0])
        others = tuple(other for other in range(3) if other != along)
        fullest = int(np.count_nonzero(images.labels, axis=others).argmax())
        # Slices count from the patient's left, back and feet, whichever way the grid runs.
        start = fullest if orientation[along, 1] > 0 else count - 1 - fullest
    return PlaneView(plane=plane, count=count, start=start, sides=_SIDES[plane])
