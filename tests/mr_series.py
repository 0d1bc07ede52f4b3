"""Small valid MR series in memory and on disk, for tests of what is written from them.

Deliberately independent of `dicom_node.inbound` and `dicom_node.phantom`: geometry is stated here by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicom_node.uids import derive_uid
from pipeline.volume import Grid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def oblique() -> tuple[float, ...]:
    """An axial orientation turned by 20 degrees about x and 10 about z, to six decimals."""
    a, b = np.deg2rad(20.0), np.deg2rad(10.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turned = about_z @ about_x
    return tuple(float(v) for v in np.round(np.concatenate([turned[:, 0], turned[:, 1]]), 6))


@dataclass(frozen=True, kw_only=True)
class MrSeries:
    """A series as datasets in k order, and the grid that voxel (column, row, k) lies on (RAS+ mm)."""

    datasets: tuple[Dataset, ...]
    grid: Grid

    def write(self, folder: Path) -> list[Path]:
        """Write each instance; returns the files in k order."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, dataset in enumerate(self.datasets):
            path = folder / f"{number:04d}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths


def mr_series(
    *,
    orientation: tuple[float, ...] = AXIAL,
    columns: int = 7,
    rows: int = 6,
    slices: int = 5,
    pixel_spacing: tuple[float, float] = (1.3, 1.2),
    slice_spacing: float = 3.0,
    enhanced: bool = False,
    study: str = "1",
    series: str = "T1CE",
    patient_name: str = "Test^Case",
    character_set: str | None = "ISO_IR 100",
) -> MrSeries:
    """pixel_spacing: (between rows, between columns) in mm, as the DICOM attribute."""
    row_cosine, column_cosine = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row_cosine, column_cosine)
    origin = np.array([-11.25, 8.5, -20.75])
    positions = [np.round(origin + k * slice_spacing * normal, 6) for k in range(slices)]
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 1000, (slices, rows, columns)).astype("<u2")
    common = {
        "rows": rows,
        "columns": columns,
        "study": study,
        "series": series,
        "patient_name": patient_name,
        "character_set": character_set,
    }
    if enhanced:
        datasets = [_enhanced(positions, orientation, pixel_spacing, slice_spacing, pixels, common)]
    else:
        datasets = [
            _single(k, position, orientation, pixel_spacing, slice_spacing, pixels[k], common)
            for k, position in enumerate(positions)
        ]
    lps = np.eye(4)
    lps[:3, 0] = row_cosine * pixel_spacing[1]
    lps[:3, 1] = column_cosine * pixel_spacing[0]
    lps[:3, 2] = normal * slice_spacing
    lps[:3, 3] = origin
    grid = Grid(shape=(columns, rows, slices), affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
    return MrSeries(datasets=tuple(datasets), grid=grid)


def _common(sop_class_uid: str, sop_instance_uid: str, common: dict[str, object]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance_uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if common["character_set"] is not None:
        dataset.SpecificCharacterSet = common["character_set"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_instance_uid
    dataset.PatientName = common["patient_name"]
    dataset.PatientID, dataset.IssuerOfPatientID = "ID-7", "WARD9"
    dataset.PatientBirthDate, dataset.PatientSex = "19700102", "O"
    study, series = str(common["study"]), str(common["series"])
    dataset.StudyInstanceUID = derive_uid("test", "study", study)
    dataset.SeriesInstanceUID = derive_uid("test", "series", study, series)
    dataset.FrameOfReferenceUID = derive_uid("test", "frame of reference", study, series)
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "101112", "S1"
    dataset.StudyDescription = "MR Head"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "ACC5", "Refers^Dr"
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "MR", 4, series
    dataset.SeriesDate, dataset.SeriesTime = "20260102", "101200"
    dataset.Manufacturer, dataset.ManufacturerModelName = "TESTVENDOR", "Scanner"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "0", "1"
    dataset.PatientPosition, dataset.PositionReferenceIndicator = "HFS", ""
    dataset.Rows, dataset.Columns = common["rows"], common["columns"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _single(
    k: int,
    position: NDArray[np.float64],
    orientation: tuple[float, ...],
    pixel_spacing: tuple[float, float],
    slice_spacing: float,
    pixels: NDArray[np.uint16],
    common: dict[str, object],
) -> Dataset:
    uid = derive_uid("test", "instance", str(common["study"]), str(common["series"]), str(k))
    dataset = _common(MRImageStorage, uid, common)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, 1
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.RepetitionTime, dataset.EchoTrainLength = "3D", 3, 2000, 1
    dataset.InversionTime = 900
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = list(position), list(orientation)
    dataset.PixelSpacing, dataset.SliceThickness = list(pixel_spacing), slice_spacing
    dataset.PixelData = pixels.tobytes()
    return dataset


def _enhanced(
    positions: list[NDArray[np.float64]],
    orientation: tuple[float, ...],
    pixel_spacing: tuple[float, float],
    slice_spacing: float,
    pixels: NDArray[np.uint16],
    common: dict[str, object],
) -> Dataset:
    """Frames stored from the last slice to the first, orientation and spacing in every frame, as vendors do."""
    uid = derive_uid("test", "instance", str(common["study"]), str(common["series"]), "enhanced")
    dataset = _common(EnhancedMRImageStorage, uid, common)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(positions)
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    frames = []
    for position in reversed(positions):
        frame, plane, axes, measures = Dataset(), Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = list(position)
        axes.ImageOrientationPatient = list(orientation)
        measures.PixelSpacing, measures.SliceThickness = list(pixel_spacing), slice_spacing
        frame.PlanePositionSequence, frame.PlaneOrientationSequence = [plane], [axes]
        frame.PixelMeasuresSequence = [measures]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = pixels[::-1].tobytes()
    return dataset
