"""What every object of a phantom study carries: patient, study, series, equipment, frame of reference."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from dicom_node.phantom.series import Clutter, PhantomSeries
from dicom_node.phantom.study import PhantomStudy
from dicom_node.uids import derive_uid
from pipeline.volume import Grid, SeriesRole

#: Larmor frequency of hydrogen at 3 T, MHz.
LARMOR_MHZ = 123.25
_TO_LPS = np.array([-1.0, -1.0, 1.0])


def decimals(values: NDArray[np.float64] | list[float]) -> list[DSfloat]:
    """Decimal strings of at most 16 characters, as exact as that allows."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def orientation_lps(grid: Grid) -> list[DSfloat]:
    """ImageOrientationPatient: the direction of a row, then of a column."""
    axes = grid.affine[:3, :2] / np.asarray(grid.spacing_mm[:2])
    return decimals([*(axes[:, 0] * _TO_LPS), *(axes[:, 1] * _TO_LPS)])


def position_lps(grid: Grid, k: int) -> list[DSfloat]:
    """ImagePositionPatient of slice k: the centre of its first pixel."""
    return decimals((grid.affine @ (0.0, 0.0, k, 1.0))[:3] * _TO_LPS)


def measured_at(study: PhantomStudy, series: PhantomSeries) -> datetime:
    """When the series began."""
    morning = datetime.combine(study.study_date, time(8 + study.seed % 9, study.seed % 60, 12))
    return morning + timedelta(minutes=series.minutes_after_start)


def file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    """Group 2 of an explicit little endian file."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derive_uid("phantom", "implementation"))
    meta.ImplementationVersionName = "PHANTOM_1"
    return meta


def common(study: PhantomStudy, series: PhantomSeries) -> Dataset:
    """Patient, General Study, Patient Study, General Series, Frame of Reference and General Equipment modules."""
    patient, vendor = study.patient, study.vendor
    begun = measured_at(study, series)
    ds = Dataset()
    ds.SpecificCharacterSet = list(patient.charset)
    ds.PatientName = patient.name
    ds.PatientID = patient.patient_id
    ds.PatientBirthDate = patient.birth_date
    ds.PatientSex = patient.sex
    ds.PatientAge = f"{max(study.study_date.year - int(patient.birth_date[:4]), 0):03d}Y"
    ds.PatientWeight = "70"
    ds.StudyInstanceUID = study.study_instance_uid
    ds.StudyDate = study.study_date.strftime("%Y%m%d")
    ds.StudyTime = (begun - timedelta(minutes=series.minutes_after_start)).strftime("%H%M%S")
    ds.ReferringPhysicianName = ""
    ds.StudyID = f"{study.seed % 10000}-{study.visit}"
    ds.AccessionNumber = f"PH{study.seed:06d}{study.visit}"
    # A console writes what its character set can hold; the study's words are Latin-1.
    ds.StudyDescription = study.study_description
    if patient.charset[-1] not in ("ISO_IR 100", "ISO_IR 192"):
        ds.StudyDescription = study.study_description.encode("ascii", "ignore").decode()
    ds.Modality = "MR"
    ds.SeriesInstanceUID = series.series_instance_uid
    ds.SeriesNumber = series.number
    ds.SeriesDescription = series.description
    ds.ProtocolName = series.habit.descriptions[0] if vendor.name != "ge" else "BRAIN TUMOR W WO"
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.StudyDate
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = begun.strftime("%H%M%S")
    ds.BodyPartExamined = "HEAD" if vendor.name == "philips" else "BRAIN"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = study.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = vendor.manufacturer
    ds.InstitutionName = "PHANTOM HOSPITAL"
    ds.StationName = vendor.station
    ds.ManufacturerModelName = study.model
    ds.DeviceSerialNumber = f"PH{study.seed:05d}"
    ds.SoftwareVersions = vendor.software.split("\\")
    return ds


def shows_contrast(series: PhantomSeries) -> bool:
    """True where the agent is recorded: on T1CE, and on what is derived from it, if this vendor records it at all."""
    derived = series.clutter in (Clutter.MPR, Clutter.SUBTRACTION)
    return series.habit.agent is not None and (series.role is SeriesRole.T1CE or derived)
