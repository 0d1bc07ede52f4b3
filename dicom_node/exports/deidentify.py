"""A DICOM object without identity: a new one, into which only what is on a list is copied.

What is not named here is not copied, whatever it is called: private elements, free text, names, times, devices, and
attributes that a later edition of the standard may add.
"""

from __future__ import annotations

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import SegmentationStorage

from dicom_node.exports.pseudonyms import Pseudonyms

_IDENTITY = "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality"
_DATES = "StudyDate SeriesDate AcquisitionDate ContentDate"
_PATIENT = "PatientSex PatientAge"
_PIXELS = (
    "SamplesPerPixel PhotometricInterpretation Rows Columns NumberOfFrames BitsAllocated BitsStored HighBit "
    "PixelRepresentation PixelData SmallestImagePixelValue LargestImagePixelValue RescaleSlope RescaleIntercept "
    "WindowCenter WindowWidth LossyImageCompression LossyImageCompressionRatio PresentationLUTShape"
)
_PLANE = (
    "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices SliceLocation "
    "InstanceNumber SeriesNumber AcquisitionNumber ImageType VolumetricProperties VolumeBasedCalculationTechnique "
    "BodyPartExamined PixelPresentation PatientPosition ComplexImageComponent AcquisitionContrast BurnedInAnnotation"
)
_ACQUISITION = (
    "ScanningSequence SequenceVariant ScanOptions MRAcquisitionType RepetitionTime EchoTime InversionTime FlipAngle "
    "MagneticFieldStrength EchoTrainLength EchoNumbers NumberOfAverages PercentSampling PixelBandwidth "
    "EffectiveEchoTime InversionRecovery InversionTimes SpinEcho Phase"
)
_GROUPS = (
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PlanePositionSequence PlaneOrientationSequence "
    "PixelMeasuresSequence FrameContentSequence PixelValueTransformationSequence FrameVOILUTSequence "
    "MRImageFrameTypeSequence MRTimingAndRelatedParametersSequence MREchoSequence FrameType RescaleType "
    "DimensionOrganizationSequence DimensionOrganizationUID DimensionOrganizationType DimensionIndexSequence "
    "DimensionIndexPointer FunctionalGroupPointer DimensionIndexValues InStackPositionNumber StackID "
    "TemporalPositionIndex DerivationImageSequence SourceImageSequence ReferencedSeriesSequence "
    "ReferencedInstanceSequence ReferencedSOPClassUID ReferencedSOPInstanceUID ReferencedFrameNumber "
    "SpatialLocationsPreserved"
)
#: The node's own words, in its own segmentations alone.
_SEGMENTS = (
    "SegmentationType SegmentsOverlap SegmentSequence SegmentNumber SegmentLabel SegmentAlgorithmType "
    "SegmentAlgorithmName RecommendedDisplayCIELabValue SegmentIdentificationSequence ReferencedSegmentNumber "
    "SegmentedPropertyCategoryCodeSequence SegmentedPropertyTypeCodeSequence AnatomicRegionSequence "
    "DerivationCodeSequence PurposeOfReferenceCodeSequence CodeValue CodingSchemeDesignator CodeMeaning ContentLabel "
    "ContentDescription ContentCreatorName Manufacturer ManufacturerModelName SoftwareVersions DeviceSerialNumber"
)
_IMAGE = frozenset(" ".join((_IDENTITY, _DATES, _PATIENT, _PIXELS, _PLANE, _ACQUISITION, _GROUPS)).split())
_OWN = _IMAGE | frozenset(_SEGMENTS.split())
#: Mandatory, if empty (type 2).
_EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "Manufacturer", "SeriesNumber", "InstanceNumber", "PositionReferenceIndicator",
)  # fmt: skip
#: What may hold words; of a source image only numbers are taken out of it.
_TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
#: HIPAA's safe harbour: ages from 90 are one age.
_OLDEST_YEARS = 89


class IdentityInPixels(ValueError):
    """The object says that its pixels hold text about the patient."""


def deidentified(source: Dataset, pseudonyms: Pseudonyms, description: str) -> Dataset:
    """The object without identity, ready to be saved. description: of the series, in words of ours.

    Raises:
        IdentityInPixels: annotation is burned in.
    """
    # However it is written: what keeps such a series out of every role reads it as tolerantly.
    if "YES" in str(source.get("BurnedInAnnotation")).upper():
        raise IdentityInPixels("annotation is burned into the pixels")
    made = _copied(source, _OWN if source.SOPClassUID == SegmentationStorage else _IMAGE, pseudonyms)
    for keyword in _EMPTY:
        if keyword not in made:
            setattr(made, keyword, None)
    if "ContentDate" in made:
        made.ContentTime = "000000"
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName = made.PatientID = pseudonyms.name
    made.PatientAge = _age(str(source.get("PatientAge") or ""))
    made.SeriesDescription = description
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "List of attributes kept; keyed pseudonyms; dates shifted"
    made.LongitudinalTemporalInformationModified = "MODIFIED"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _copied(source: Dataset, kept: frozenset[str], pseudonyms: Pseudonyms) -> Dataset:
    made = Dataset()
    for element in source:
        keyword = keyword_for_tag(element.tag)
        if keyword not in kept or (element.VR in _TEXT and kept is not _OWN and not str(element.value).isdigit()):
            continue
        if element.VR == "SQ":
            value: object = [_copied(item, kept, pseudonyms) for item in element.value]
        elif element.VR == "UI":
            several = element.value if element.VM > 1 else [element.value or ""]
            value = [pseudonyms.uid(str(one)) for one in several]
        elif element.VR == "DA":
            value = pseudonyms.day(str(element.value))
        else:
            value = element.value
        made.add(DataElement(element.tag, element.VR, value))
        if keyword == "PixelData":
            made["PixelData"].is_undefined_length = element.is_undefined_length
    return made


def _age(text: str) -> str:
    if text[-1:] == "Y" and text[:-1].isdigit() and int(text[:-1]) > _OLDEST_YEARS:
        return f"{_OLDEST_YEARS + 1:03d}Y"
    return text if text[:-1].isdigit() and text[-1:] in ("D", "W", "M", "Y") else ""
