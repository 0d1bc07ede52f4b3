"""What is demanded of every object: identity, UIDs, marks, character set, lengths, file meta information."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.lint_rule import Profile, Rule, rule
from dicom_node.results.seg import LABEL_MAP_STORAGE
from dicom_node.results.stamp import EQUIPMENT_NAME, IDENTITY_KEYWORDS, SERIES_DESCRIPTION_PREFIX

#: The Modality of each SOP class we write.
MODALITIES = MappingProxyType(
    {
        str(SegmentationStorage): "SEG",
        LABEL_MAP_STORAGE: "SEG",
        str(Comprehensive3DSRStorage): "SR",
        str(KeyObjectSelectionDocumentStorage): "KO",
        str(SecondaryCaptureImageStorage): "OT",
        str(MultiFrameTrueColorSecondaryCaptureImageStorage): "OT",
        str(EncapsulatedPDFStorage): "DOC",
    }
)

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
#: The longest value of each VR, in characters (PS3.5 table 6.2-1).
_LONGEST = MappingProxyType({"SH": 16, "LO": 64, "CS": 16, "ST": 1024, "LT": 10240, "AE": 16, "DS": 16, "IS": 12})
_TEXT_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """Every element but those of the per-frame groups, which are thousands, alike and without text."""
    for element in dataset:
        if element.keyword == "PerFrameFunctionalGroupsSequence":
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def _values(element: DataElement) -> list[str]:
    value = element.value
    return [str(v) for v in (value if element.VM > 1 else [value]) if v is not None]


def _identity(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for keyword in IDENTITY_KEYWORDS:
        # The values themselves may name the patient: the text says which attribute, never what it holds.
        if (dataset.get(keyword) or None) != (reference.first.get(keyword) or None):
            yield f"{keyword} differs from the source"


def _series(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if str(dataset.get("SeriesInstanceUID")) == reference.series_instance_uid:
        yield "the result is in the source's own series"


def _instance(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if str(dataset.get("SOPInstanceUID")) in {str(d.SOPInstanceUID) for d in reference.datasets}:
        yield "SOP Instance UID is a source image's"


def _description(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if not str(dataset.get("SeriesDescription", "")).startswith(SERIES_DESCRIPTION_PREFIX):
        yield "Series Description lacks our prefix"


def _mark(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if dataset.get("ManufacturerModelName") != EQUIPMENT_NAME:
        yield "Manufacturer's Model Name does not mark the object as ours"


def _present(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    always = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
    for keyword in (*always, "SeriesNumber", "SoftwareVersions", "DeviceSerialNumber", "SeriesDate", "ContentDate"):
        if not dataset.get(keyword):
            yield f"{keyword} is absent or empty"


def _modality(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    expected = MODALITIES.get(str(dataset.get("SOPClassUID")))
    if expected is not None and dataset.get("Modality") != expected:
        yield f"Modality is not {expected}"


def _uids(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for element in _elements(dataset):
        if element.VR == "UI":
            for value in _values(element):
                if value and (len(value) > 64 or not _UID.fullmatch(value)):
                    yield f"{element.keyword} is no valid UID"


def _lengths(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for element in _elements(dataset):
        longest = _LONGEST.get(element.VR)
        if longest is not None and any(len(value) > longest for value in _values(element)):
            yield f"{element.keyword} is longer than the {longest} characters of {element.VR}"


def _character_set(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    sets = dataset.get("SpecificCharacterSet")
    encodings = convert_encodings(list(sets) if isinstance(sets, list | tuple) or hasattr(sets, "append") else sets)
    if len(encodings) > 1:
        return  # code extensions: pydicom itself refuses what they do not hold
    for element in _elements(dataset):
        if element.VR not in _TEXT_VRS:
            continue
        for value in _values(element):
            try:
                value.encode("ascii" if sets in (None, "") else encodings[0])
            except UnicodeEncodeError:
                yield f"{element.keyword} holds characters outside Specific Character Set"


def _file_meta(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    meta = dataset.file_meta
    for of_file, of_object in (
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
        ("MediaStorageSOPClassUID", "SOPClassUID"),
    ):
        if str(meta.get(of_file)) != str(dataset.get(of_object)):
            yield f"{of_file} of the file is not the object's"


def _transfer_syntax(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    label_map = str(dataset.get("SOPClassUID")) == LABEL_MAP_STORAGE
    if dataset.file_meta.TransferSyntaxUID != (RLELossless if label_map else ExplicitVRLittleEndian):
        yield "stored in another transfer syntax than the one that is read everywhere"


def _private(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if any(element.tag.is_private for element in _elements(dataset)):
        yield "it holds private elements, which a strict archive strips"


def _identifiers(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for keyword in ("InstanceNumber", "SeriesNumber"):
        if str(dataset.get(keyword) or "") == "":
            yield f"{keyword} is empty: sorting by it fails"


def _coded_equipment(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for item in dataset.get("ContributingEquipmentSequence", []):
        if not item.get("PurposeOfReferenceCodeSequence"):
            yield "a contributing equipment has no coded purpose"


RULES: tuple[Rule, ...] = (
    rule("identity-differs", _identity),
    rule("series-reused", _series),
    rule("instance-reused", _instance),
    rule("series-description", _description),
    rule("not-marked", _mark),
    rule("attribute-missing", _present),
    rule("modality", _modality),
    rule("uid-invalid", _uids),
    rule("value-too-long", _lengths),
    rule("file-meta", _file_meta),
    rule("equipment-purpose", _coded_equipment),
    rule("character-set", _character_set, Profile.STRICT_PACS, Profile.DICOM),
    rule("transfer-syntax", _transfer_syntax, Profile.ORTHANC, Profile.OHIF, Profile.WEASIS, Profile.STRICT_PACS),
    rule("private-element", _private, Profile.STRICT_PACS),
    rule("instance-number", _identifiers, Profile.STRICT_PACS),
)
