"""Slices as the 2D models see them: cropped to the head, letter-boxed, scaled, in the radiological orientation.

Training and analysis both go through `model_slice`, so a model meets in the node what it met in training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import InvalidVolume
from pipeline.volume import FloatArray, LabelArray, Volume

MODEL_SLICE_SIZE = 224
#: Room left around the head, as a share of its longer side.
MARGIN = 0.04
#: Percentiles of the pixels inside the head that become 0 and 1. The lower end is the image's own darkest value.
BRIGHT_PERCENTILE = 99.5
#: Share of the brain's largest axial area that a slice must show to be read.
LEAST_BRAIN_SHARE = 0.25

Box = tuple[int, int, int, int]


def _scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """0..1 by the darkest pixel and the bright percentile of what is above the background."""
    image = image - image.min()
    top = float(image.max())
    if top <= 0:
        return image
    foreground = image[image > 0.05 * top]
    bright = float(np.percentile(foreground, BRIGHT_PERCENTILE))
    return np.clip(image / bright, 0.0, 1.0)


def head_box(image: NDArray[np.float64]) -> Box:
    """Rows and columns (top, bottom, left, right; half open) of the largest bright object of an image in 0..1.

    The whole image where nothing stands out (no object of at least an eighth of the longer side).
    """
    rows, columns = image.shape
    smooth = ndimage.uniform_filter(image, 3)
    # A head covers part of the picture; its mean over the whole picture lies between air and tissue.
    threshold = max(0.06, min(0.2, 0.5 * float(smooth.mean())))
    found, count = ndimage.label(smooth > threshold)
    if count == 0:
        return 0, rows, 0, columns
    sizes = ndimage.sum_labels(np.ones_like(found), found, np.arange(1, count + 1))
    box = ndimage.find_objects(found)[int(np.argmax(sizes))]
    top, bottom, left, right = box[0].start, box[0].stop, box[1].start, box[1].stop
    side = max(bottom - top, right - left)
    if side < max(rows, columns) / 8:
        return 0, rows, 0, columns
    margin = round(MARGIN * side)
    return max(0, top - margin), min(rows, bottom + margin), max(0, left - margin), min(columns, right + margin)


def _letterbox(image: NDArray[np.float64], size: int, order: int) -> NDArray[np.float64]:
    """Onto a black (size, size) square: longer side fills it, the aspect ratio stays, the picture is centred."""
    rows, columns = image.shape
    scale = size / max(rows, columns)
    if scale < 1 and order:
        image = ndimage.gaussian_filter(image, 0.4 * (1 / scale - 1), mode="nearest")
    # Pixel centres: output (r + 0.5) / scale = input (r' + 0.5).
    offset = [0.5 / scale - 0.5 - (size - n * scale) / 2 / scale for n in (rows, columns)]
    return np.asarray(
        ndimage.affine_transform(image, [1 / scale, 1 / scale], offset, (size, size), order=order, cval=0.0)
    )


def model_slice_with_mask(
    image: NDArray[np.floating], mask: NDArray[np.generic] | None, size: int = MODEL_SLICE_SIZE
) -> tuple[FloatArray, LabelArray]:
    """`model_slice` of `image`, and `mask` (same shape, or None for empty) carried along; both (size, size).

    Raises:
        InvalidVolume: not two-dimensional, a side below 8 pixels, or a pixel that is NaN or infinite.
    """
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim != 2 or min(pixels.shape) < 8:
        raise InvalidVolume(f"a slice needs two sides of at least 8 pixels, not shape {pixels.shape}")
    if not np.isfinite(pixels).all():
        raise InvalidVolume("a slice holds NaN or infinite pixels; rescale the image before reading it")
    scaled = _scaled(pixels)
    top, bottom, left, right = head_box(scaled)
    cropped = _scaled(pixels[top:bottom, left:right])
    picture = np.clip(_letterbox(cropped, size, 1), 0, 1).astype(np.float32)
    if mask is None:
        return picture, np.zeros((size, size), np.uint8)
    outline = (np.asarray(mask)[top:bottom, left:right] > 0).astype(np.float64)
    return picture, (_letterbox(outline, size, 1) > 0.5).astype(np.uint8)


def model_slice(image: NDArray[np.floating], size: int = MODEL_SLICE_SIZE) -> FloatArray:
    """One picture as the models read it. image: (rows, columns), any unit, row 0 anterior, column 0 patient's right.

    Cropped to the head, letter-boxed to (size, size), float32 in 0..1: 0 is the darkest pixel, 1 the 99.5 percentile
    of the head. A constant image gives zeros.

    Raises:
        InvalidVolume: not two-dimensional, a side below 8 pixels, or a pixel that is NaN or infinite.
    """
    return model_slice_with_mask(image, None, size)[0]


def radiological(array: NDArray[np.generic], affine: NDArray[np.float64]) -> NDArray[np.generic]:
    """(I, J, K) on an axis-aligned grid -> (K, rows, columns): radiological, slice 0 the lowest.

    A view; row 0 is anterior, column 0 the patient's right. affine: voxel index to RAS+ mm, with i along x, j along y
    and k along z, each either way.

    Raises:
        InvalidVolume: an axis of the grid is not along x, y and z in that order.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(np.abs(directions), np.eye(3), atol=1e-3):
        raise InvalidVolume("axial slices need a grid whose axes run along x, y and z; resample the volume first")
    # Columns run from +x (right) to -x, rows from +y (front) to -y, slices from -z (feet) up.
    i, j, k = (1 if directions[n, n] > 0 else -1 for n in range(3))
    return array[::-i, ::-j, ::k].transpose(2, 1, 0)


def axial_slices(
    volume: Volume, mask: LabelArray, count: int, size: int = MODEL_SLICE_SIZE
) -> tuple[NDArray[np.float64], FloatArray]:
    """Up to `count` evenly spaced axial slices through the brain.

    volume: on an axis-aligned grid. mask: (I, J, K), brain above 0. Slices that show less than a quarter of the
    brain's largest axial area are passed over. Returns positions (n,) along z in RAS+ mm, rising, and
    slices (n, size, size) by `model_slice`.

    Raises:
        InvalidVolume: the mask is empty or of another shape, or the grid is oblique.
    """
    if mask.shape != volume.grid.shape:
        raise InvalidVolume(f"a brain mask of shape {mask.shape} does not fit a volume of shape {volume.grid.shape}")
    affine = volume.grid.affine
    stack = radiological(volume.voxels, affine)
    area = np.count_nonzero(radiological(mask, affine), axis=(1, 2))
    if area.max() == 0:
        raise InvalidVolume("the brain mask is empty: no slice to read")
    worth = np.flatnonzero(area >= LEAST_BRAIN_SHARE * area.max())
    n = min(count, len(worth))
    # Centres of n equal parts, so that one slice is the middle one and none sits on the very edge.
    chosen = worth[((np.arange(n) + 0.5) / n * len(worth)).astype(int)]
    z = (
        affine[2, 3] + abs(affine[2, 2]) * chosen
        if affine[2, 2] > 0
        else (affine[2, 3] + affine[2, 2] * (volume.grid.shape[2] - 1 - chosen))
    )
    return np.asarray(z, np.float64), np.stack([model_slice(stack[n].astype(np.float64), size) for n in chosen])
