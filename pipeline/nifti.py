"""NIfTI in and out. A file whose header leaves the patient's left and right in doubt is refused, not guessed at."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from pipeline.errors import InvalidVolume
from pipeline.report import Segmentation
from pipeline.volume import FloatArray, Grid, Volume

#: More voxels than any head MRI has: a header that claims them is wrong, or meant to exhaust the memory.
MAX_VOXELS = 512 * 512 * 1024

_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


def load_nifti_volume(path: Path) -> Volume:
    """The image in a .nii or .nii.gz file, float32 (I, J, K) with the header's scaling applied, affine to RAS+ mm.

    Raises:
        InvalidVolume: no readable NIfTI, more than one time point, colour or complex voxels, no stated orientation or
            two that differ, a non-finite affine, voxel sizes that differ from the affine, truncated or NaN voxels.
    """
    voxels, grid = _read(path)
    return Volume(voxels=voxels.astype(np.float32), grid=grid)


def load_nifti_labels(path: Path) -> tuple[NDArray[np.int64], Grid]:
    """Whole-number labels (I, J, K) of a .nii or .nii.gz file with their grid.

    Raises:
        InvalidVolume: as `load_nifti_volume`, or a value that is no whole number.
    """
    voxels, grid = _read(path)
    if not np.isfinite(voxels).all() or not np.array_equal(voxels, np.round(voxels)):
        raise InvalidVolume(f"{path.name}: labels must be whole numbers; was the label map interpolated?")
    return np.round(voxels).astype(np.int64), grid


def save_labels(path: Path, segmentation: Segmentation) -> None:
    """Writes the labels 0, 1, 2, 4 as uint8 NIfTI on the segmentation's grid (sform and qform 'scanner')."""
    _save(path, segmentation.labels, segmentation.grid)


def save_volume(path: Path, volume: Volume) -> None:
    """Writes a volume as float32 NIfTI."""
    _save(path, volume.voxels, volume.grid)


def greys_bytes(greys: NDArray[np.uint8], grid: Grid) -> bytes:
    """A picture in 256 greys as the bytes of a uint8 .nii.gz file."""
    return gzip.compress(_image(greys, grid).to_bytes(), compresslevel=1, mtime=0)


def _save(path: Path, array: NDArray[np.uint8] | FloatArray, grid: Grid) -> None:
    nib.save(_image(array, grid), path)


def _image(array: NDArray[np.uint8] | FloatArray, grid: Grid) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, code=1)
    # A qform holds no shear; nibabel stores the nearest rotation, and the sform, read first, stays exact.
    image.set_qform(grid.affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    return image


def _read(path: Path) -> tuple[NDArray[np.float64], Grid]:
    try:
        image = nib.load(path, mmap=False)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError) as e:
        raise InvalidVolume(f"{path.name}: no readable NIfTI file ({type(e).__name__}); convert it again") from e
    if not isinstance(image, nib.Nifti1Image | nib.Nifti2Image):
        raise InvalidVolume(f"{path.name}: a {type(image).__name__}, not NIfTI; convert it to .nii.gz")
    _check_kind(path, image)
    affine = _affine(path, image)
    try:
        voxels = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidVolume(f"{path.name}: fewer voxels than its header states; copy the file again") from error
    i, j, k = (int(side) for side in image.shape[:3])
    return voxels.reshape(i, j, k).astype(np.float64), Grid(shape=(i, j, k), affine=affine)


def _check_kind(path: Path, image: Any) -> None:
    shape = tuple(int(side) for side in image.shape)
    if len(shape) < 3 or min(shape) < 1:
        raise InvalidVolume(f"{path.name}: shape {shape} is no volume; give one file for each 3-D series")
    if any(side != 1 for side in shape[3:]):
        raise InvalidVolume(f"{path.name}: {shape[3:]} images after the third axis; give one volume a file")
    if int(np.prod(shape, dtype=np.float64)) > MAX_VOXELS:
        raise InvalidVolume(f"{path.name}: its header states {shape} voxels, more than any head MRI has")
    kind = image.get_data_dtype()
    if kind.fields is not None or kind.kind not in "iufb":
        raise InvalidVolume(f"{path.name}: voxels of type {kind}; give one real number a voxel")


def _affine(path: Path, image: Any) -> NDArray[np.float64]:
    header = image.header
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if not sform_code and not qform_code:
        raise InvalidVolume(
            f"{path.name}: neither sform nor qform is set: left and right are unknown; convert it again"
        )
    affine = np.array(sform if sform_code else qform, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InvalidVolume(f"{path.name}: its affine is not finite or has no volume; convert it again")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    stated = np.array(header.get_zooms()[:3], dtype=np.float64)
    if not np.allclose(lengths, stated, rtol=0.02, atol=1e-3):
        raise InvalidVolume(
            f"{path.name}: voxel sizes {np.round(stated, 3).tolist()} differ from the affine's "
            f"{np.round(lengths, 3).tolist()}; convert it again"
        )
    if sform_code and qform_code and np.isfinite(qform).all():
        cosines = np.sum(affine[:3, :3] * qform[:3, :3], axis=0) / (lengths * np.linalg.norm(qform[:3, :3], axis=0))
        # One template space and one scanner space may differ by a rotation, but not by which way is right.
        if sform_code == qform_code and (cosines < 0.5).any():
            raise InvalidVolume(f"{path.name}: sform and qform disagree on the orientation; convert it again")
    scale = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return np.asarray(np.diag([scale, scale, scale, 1.0]) @ affine, dtype=np.float64)
