"""Slices as pictures: grey, or with the labels in colour, radiological, in true aspect."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import InvalidVolume
from pipeline.report import Label
from pipeline.volume import Grid, LabelArray, Volume

#: RGB 0..255 of each label, the colours of the SEG object's recommended display values.
LABEL_COLOURS: dict[Label, tuple[int, int, int]] = {
    Label.NCR: (216, 191, 216),
    Label.ED: (140, 224, 228),
    Label.ET: (255, 60, 60),
}


class Plane(StrEnum):
    """A viewing plane: the grid's planes nearest to it are shown."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


#: The patient's axis (0 x, 1 y, 2 z) across each plane, down its rows and along its columns.
_AXES = {Plane.AXIAL: (2, 1, 0), Plane.CORONAL: (1, 2, 0), Plane.SAGITTAL: (0, 2, 1)}


def slice_count(grid: Grid, plane: Plane) -> int:
    """How many slices `grid` has across `plane`."""
    return grid.shape[_grid_axes(grid)[_AXES[plane][0]][0]]


def grayscale_slice(volume: Volume, plane: Plane, index: int) -> NDArray[np.uint8]:
    """One slice as uint8 (H, W), windowed from the 1 to the 99.5 percentile of the volume's tissue.

    index: 0 is the lowest, hindmost or leftmost slice. Radiological: axial and coronal show the patient's right on the
    left of the picture, sagittal looks to the left; front or top comes first. Pixels are square in mm.

    Raises:
        InvalidVolume: no such slice.
    """
    return _grey(_picture(volume.voxels, volume.grid, plane, index, order=1), volume)


def _grey(picture: NDArray[np.float32], volume: Volume) -> NDArray[np.uint8]:
    low, high = _window(volume)
    scaled: NDArray[np.float32] = np.clip((picture - low) / max(high - low, 1e-6), 0, 1) * 255
    return scaled.round().astype(np.uint8)


def overlay_slice(
    volume: Volume, labels: LabelArray | None, plane: Plane, index: int, opacity: float = 0.45
) -> NDArray[np.uint8]:
    """One slice as RGB uint8 (H, W, 3), the labels blended in at `opacity` (0 hides them, 1 hides the tissue).

    labels: uint8 (I, J, K) on the volume's grid, or None. See `grayscale_slice` for orientation.

    Raises:
        InvalidVolume: no such slice, or labels of another shape.
    """
    grey = grayscale_slice(volume, plane, index)
    if labels is None:
        return _coloured(grey, None, opacity)
    if labels.shape != volume.grid.shape:
        raise InvalidVolume(f"labels of shape {labels.shape} do not fit a volume of shape {volume.grid.shape}")
    return _coloured(grey, _picture(labels, volume.grid, plane, index, order=0), opacity)


def overlay_slice_on(
    volume: Volume,
    labels: LabelArray | None,
    onto: Grid,
    to_volume: NDArray[np.float64],
    plane: Plane,
    index: int,
    opacity: float = 0.45,
) -> NDArray[np.uint8]:
    """`volume` as it lies on slice `index` of another study's grid `onto`: a picture to be set beside that slice.

    to_volume: (4, 4), from a point of the other study to the same point of the head in `volume`, both RAS+ mm. Outside
    the volume the picture is black. See `overlay_slice` for the rest.

    Raises:
        InvalidVolume: no such slice, or labels of another shape.
    """
    if labels is not None and labels.shape != volume.grid.shape:
        raise InvalidVolume(f"labels of shape {labels.shape} do not fit a volume of shape {volume.grid.shape}")
    thin = _one_slice(onto, plane, index)
    matrix = np.linalg.inv(volume.grid.affine) @ to_volume @ thin.affine

    def sampled(array: NDArray[np.float32] | LabelArray, order: int) -> NDArray[np.float32]:
        found = ndimage.affine_transform(
            array.astype(np.float32), matrix[:3, :3], matrix[:3, 3], thin.shape, order=order, mode="constant"
        )
        return _picture(found, thin, plane, 0, order)

    shown = None if labels is None else sampled(labels, 0)
    return _coloured(_grey(sampled(volume.voxels, 1), volume), shown, opacity)


def _one_slice(grid: Grid, plane: Plane, index: int) -> Grid:
    """The grid of one slice alone."""
    across, sign = _grid_axes(grid)[_AXES[plane][0]]
    count = grid.shape[across]
    if not 0 <= index < count:
        raise InvalidVolume(f"there is no {plane} slice {index}: the series has {count}")
    shape, affine = list(grid.shape), grid.affine.copy()
    affine[:3, 3] += (index if sign > 0 else count - 1 - index) * affine[:3, across]
    shape[across] = 1
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def _coloured(grey: NDArray[np.uint8], shown: NDArray[np.float32] | None, opacity: float) -> NDArray[np.uint8]:
    colour = np.repeat(grey[..., None].astype(np.float32), 3, axis=2)
    if shown is not None:
        for label, rgb in LABEL_COLOURS.items():
            inside = shown == label
            colour[inside] = (1 - opacity) * colour[inside] + opacity * np.array(rgb, np.float32)
    return colour.round().astype(np.uint8)


def slice_index(grid: Grid, plane: Plane, point_mm: Sequence[float]) -> int:
    """The slice across `plane` that lies nearest to a point (RAS+ mm), counted as in `grayscale_slice`."""
    axis, sign = _grid_axes(grid)[_AXES[plane][0]]
    voxel = (np.linalg.inv(grid.affine) @ (*point_mm, 1.0))[axis]
    count = grid.shape[axis]
    index = min(max(round(float(voxel)), 0), count - 1)
    return index if sign > 0 else count - 1 - index


def _grid_axes(grid: Grid) -> list[tuple[int, int]]:
    """For the patient's x, y and z: the grid axis nearest to it, and +1 where the index rises with it, else -1."""
    orientation = nib.orientations.io_orientation(grid.affine)
    axes = [(0, 1)] * 3
    for grid_axis, (world_axis, flip) in enumerate(orientation):
        axes[int(world_axis)] = (grid_axis, int(flip))
    return axes


def _picture(
    array: NDArray[np.float32] | LabelArray, grid: Grid, plane: Plane, index: int, order: int
) -> NDArray[np.float32]:
    axes = _grid_axes(grid)
    (across, sign), rows, columns = (axes[axis] for axis in _AXES[plane])
    count = grid.shape[across]
    if not 0 <= index < count:
        raise InvalidVolume(f"there is no {plane} slice {index}: the series has {count}")
    picture = np.take(array, index if sign > 0 else count - 1 - index, axis=across)
    if rows[0] > columns[0]:
        picture = picture.T
    # Rows run from front or top, columns from the patient's right (sagittal: from the front): from high x, y and z.
    picture = np.asarray(picture[:: -rows[1], :: -columns[1]], dtype=np.float32)
    spacing = np.array([grid.spacing_mm[rows[0]], grid.spacing_mm[columns[0]]])
    zoom = spacing / spacing.min()
    if zoom.max() < 1.005:
        return picture
    shape = np.maximum((np.array(picture.shape) * zoom).round().astype(int), 1)
    step = np.array(picture.shape) / shape
    stretched: NDArray[np.float32] = ndimage.affine_transform(
        picture, step, 0.5 * step - 0.5, tuple(shape), order=order, mode="nearest"
    )
    return stretched


def _window(volume: Volume) -> tuple[float, float]:
    strides = tuple(slice(None, None, max(n // 64, 1)) for n in volume.grid.shape)
    sample = volume.voxels[strides]
    tissue = sample[sample > sample.mean() * 0.3]
    low, high = (float(v) for v in np.percentile(tissue if tissue.size else sample, (1, 99.5)))
    return min(low, 0.5 * high), high
