"""Enhanced MR Image Storage: a whole series in one multi-frame object (PS3.3 A.36.2)."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from dicom_node.phantom.frame_groups import frame_groups, frame_type, shared_groups
from dicom_node.phantom.headers import common, file_meta, measured_at, shows_contrast
from dicom_node.phantom.series import PhantomSeries
from dicom_node.phantom.study import PhantomStudy
from dicom_node.uids import derive_uid

#: Attributes of the classic IOD that have no place in the enhanced one.
_CLASSIC_ONLY = ("AcquisitionDate", "AcquisitionTime")


def item(**values: object) -> Dataset:
    """A sequence item from keywords."""
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def enhanced_object(study: PhantomStudy, series: PhantomSeries) -> Dataset:
    """The series as one object with file meta; frames by stack, then k ascending."""
    ds = common(study, series)
    for keyword in _CLASSIC_ONLY:
        delattr(ds, keyword)
    uid = derive_uid(series.series_instance_uid, "0", "enhanced")
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedMRImageStorage, uid
    ds.InstanceNumber = 1
    if study.vendor.name == "siemens":
        ds.Manufacturer, ds.SoftwareVersions = "Siemens Healthineers", "syngo MR XA30"
    _describe_image(ds, study, series)
    if series.habit.image_type[0] == "ORIGINAL":
        _describe_pulse(ds, series)
    _describe_dimensions(ds, series)
    if shows_contrast(series):
        ds.ContrastBolusAgentSequence = Sequence([_agent()])
    ds.SharedFunctionalGroupsSequence = Sequence([shared_groups(study, series)])
    ds.PerFrameFunctionalGroupsSequence = Sequence(frame_groups(study, series))
    frames = np.concatenate([stack.stored.transpose(2, 1, 0) for stack in series.stacks])
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = file_meta(EnhancedMRImageStorage, uid)
    return ds


def _describe_image(ds: Dataset, study: PhantomStudy, series: PhantomSeries) -> None:
    vendor = study.vendor
    ds.ImageType = list(frame_type(series))
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "MPR" if series.clutter == "mpr" else "NONE"
    ds.ComplexImageComponent = "MAGNITUDE"
    ds.AcquisitionContrast = "UNKNOWN"
    begun = measured_at(study, series)
    ds.AcquisitionNumber = 1
    ds.AcquisitionDateTime = begun.strftime("%Y%m%d%H%M%S")
    ds.AcquisitionDuration = 240.0
    ds.ResonantNucleus = "1H"
    ds.KSpaceFiltering = "NONE"
    ds.MagneticFieldStrength = "3"
    ds.ApplicableSafetyStandardAgency = "IEC"
    ds.ContentQualification = "PRODUCT"
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PresentationLUTShape = "IDENTITY"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, vendor.bits_stored, vendor.bits_stored - 1
    ds.PixelRepresentation = int(vendor.signed)
    ds.AcquisitionContextSequence = Sequence()


def _describe_pulse(ds: Dataset, series: PhantomSeries) -> None:
    habit = series.habit
    gradient = "GR" in habit.scanning_sequence
    ds.MRAcquisitionType = "3D" if habit.three_dimensional else "2D"
    ds.PulseSequenceName = habit.sequence_name or habit.descriptions[0][:16]
    ds.EchoPulseSequence = "GRADIENT" if gradient else "SPIN"
    if not gradient:
        ds.MultipleSpinEcho = "YES" if habit.sequence.train > 1 else "NO"
    ds.MultiPlanarExcitation = "NO"
    ds.PhaseContrast = "NO"
    ds.TimeOfFlightContrast = "NO"
    ds.SteadyStatePulseSequence = "NONE"
    ds.EchoPlanarPulseSequence = "YES" if "EP" in habit.scanning_sequence else "NO"
    ds.SaturationRecovery = "NO"
    ds.SpectrallySelectedSuppression = "FAT" if "FS" in habit.scan_options else "NONE"
    ds.OversamplingPhase = "NONE"
    ds.GeometryOfKSpaceTraversal = "RECTILINEAR"
    ds.SegmentedKSpaceTraversal = "SINGLE"
    ds.RectilinearPhaseEncodeReordering = "LINEAR"
    ds.NumberOfKSpaceTrajectories = 1
    if habit.three_dimensional:
        ds.CoverageOfKSpace = "FULL"


def _describe_dimensions(ds: Dataset, series: PhantomSeries) -> None:
    organization = derive_uid(series.series_instance_uid, "dimensions")
    ds.DimensionOrganizationSequence = Sequence([item(DimensionOrganizationUID=organization)])
    pointers = [(0x00209056, 0x00209111), (0x00209057, 0x00209111)]
    ds.DimensionIndexSequence = Sequence(
        [
            item(DimensionOrganizationUID=organization, DimensionIndexPointer=index, FunctionalGroupPointer=group)
            for index, group in pointers
        ]
    )


def _agent() -> Dataset:
    return item(
        CodeValue="407976008",
        CodingSchemeDesignator="SCT",
        CodeMeaning="Gadobutrol",
        ContrastBolusAgentNumber=1,
        ContrastBolusAdministrationRouteSequence=Sequence(
            [item(CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous route")]
        ),
        ContrastBolusIngredientCodeSequence=Sequence(
            [item(CodeValue="58281002", CodingSchemeDesignator="SCT", CodeMeaning="Gadolinium")]
        ),
        ContrastBolusVolume=None,
        ContrastBolusIngredientConcentration=None,
        ContrastBolusIngredientOpaque="NO",
    )
