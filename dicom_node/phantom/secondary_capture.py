"""A screenshot as Secondary Capture Image Storage (PS3.3 A.8.1), in the study of the series it shows."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.phantom.headers import common, file_meta
from dicom_node.phantom.series import PhantomSeries
from dicom_node.phantom.study import PhantomStudy
from dicom_node.uids import derive_uid

#: A capture has no slice geometry and was not measured: what the MR equipment says of a scan is left out.
_OF_A_SCAN = (
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "PatientPosition",
    "AcquisitionDate",
    "AcquisitionTime",
)


def capture_object(study: PhantomStudy, series: PhantomSeries) -> Dataset:
    """The screenshot with file meta.

    Raises:
        ValueError: the series is no screenshot.
    """
    if series.screenshot is None:
        raise ValueError(f"series '{series.description}' holds no screenshot")
    uid = derive_uid(series.series_instance_uid, "0", "0")
    ds = common(study, series)
    for keyword in _OF_A_SCAN:
        delattr(ds, keyword)
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = uid
    ds.ConversionType = "WSD"
    ds.PatientOrientation = ""
    ds.ImageType = list(series.habit.image_type)
    ds.InstanceNumber = 1
    ds.BurnedInAnnotation = "YES"
    rows, columns, samples = series.screenshot.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = samples, "RGB", 0
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = series.screenshot.tobytes()
    ds["PixelData"].VR = "OB"
    ds.file_meta = file_meta(SecondaryCaptureImageStorage, uid)
    return ds
