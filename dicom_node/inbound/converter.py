"""dicom2nifti, fed with classic single-frame copies made in memory, and its answer brought to our voxel order.

The copies carry what a converter needs and nothing a vendor branch could trip over: native pixels, plane, rescale, and
an InstanceNumber that rises along the normal. With the sender's own numbers an interleaved series becomes a wrong 4D
image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dicom2nifti import convert_dicom
from dicom2nifti.exceptions import ConversionError, ConversionValidationError
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.headers import MR_IMAGE
from dicom_node.inbound.pixels import Rescale
from dicom_node.inbound.refusals import Refusal
from dicom_node.inbound.slice_geometry import Plane
from dicom_node.uids import derive_uid


def convert(
    planes: Sequence[Plane],
    frames: Sequence[NDArray[np.generic]],
    rescales: Sequence[Rescale],
    series_instance_uid: str,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Voxels (columns, rows, slices) and the affine to RAS+ mm that dicom2nifti gives; k rises as `planes` do.

    frames: stored values (rows, columns), one a plane, in the same order along the normal.

    Raises:
        SeriesRefused: CONVERTER_REFUSED with dicom2nifti's own word, or NOT_A_VOLUME.
    """
    copies = [
        _classic_copy(number, plane, frame, rescale)
        for number, (plane, frame, rescale) in enumerate(zip(planes, frames, rescales, strict=True), start=1)
    ]
    try:
        image = convert_dicom.dicom_array_to_nifti(copies, None, reorient_nifti=False)["NII"]
    except (ConversionError, ConversionValidationError) as error:
        raise SeriesRefused(Refusal.CONVERTER_REFUSED, series_instance_uid, f"dicom2nifti: {error}") from error
    voxels, affine = np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    if voxels.ndim != 3:
        raise SeriesRefused(Refusal.NOT_A_VOLUME, series_instance_uid, f"dicom2nifti made {voxels.ndim} dimensions")
    # dicom2nifti sorts along the largest coordinate, which may run against the normal.
    travel = (np.array(planes[-1].position) - np.array(planes[0].position)) * (-1.0, -1.0, 1.0)
    if affine[:3, 2] @ travel < 0:
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (voxels.shape[2] - 1)
        affine[:3, 2] *= -1
        voxels = voxels[:, :, ::-1]
    return np.ascontiguousarray(voxels, dtype=np.float32), affine


def _classic_copy(number: int, plane: Plane, frame: NDArray[np.generic], rescale: Rescale) -> Dataset:
    """A single-frame MR image with native pixels that stands for one plane."""
    copy = Dataset()
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.file_meta.MediaStorageSOPClassUID = UID(MR_IMAGE)
    copy.SOPClassUID = UID(MR_IMAGE)
    copy.SOPInstanceUID = derive_uid("conversion", plane.sop_instance_uid, str(plane.frame_number))
    copy.Modality = "MR"
    copy.InstanceNumber = number
    copy.ImagePositionPatient = [_decimal(v) for v in plane.position]
    copy.ImageOrientationPatient = [_decimal(v) for v in plane.orientation]
    copy.PixelSpacing = [_decimal(v) for v in plane.pixel_spacing_mm]
    copy.RescaleSlope, copy.RescaleIntercept = _decimal(rescale.slope), _decimal(rescale.intercept)
    copy.Rows, copy.Columns = frame.shape
    copy.SamplesPerPixel, copy.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = frame.dtype.itemsize * 8
    copy.BitsAllocated = copy.BitsStored = bits
    copy.HighBit = bits - 1
    copy.PixelRepresentation = int(frame.dtype.kind == "i")
    little = np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("<"))
    copy.add_new("PixelData", "OW" if bits > 8 else "OB", little.tobytes())
    copy.set_original_encoding(False, True)
    return copy


def _decimal(value: float) -> DSfloat:
    # A DS of full precision: the copy never becomes a file, so PS3.5's 16 characters do not bind it.
    return DSfloat(value, validation_mode=0)
