"""What PACSs and viewers demand of a result, checked on the finished object before it may leave.

The object is read as a stranger would, from its attributes alone; nothing here knows how it was built. A new SOP class
adds its own checks to `_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage

from dicom_node.results.evidence import Evidence, ReferenceSeries, slice_geometry
from dicom_node.results.stamp import EQUIPMENT_NAME, IDENTITY_KEYWORDS, SERIES_DESCRIPTION_PREFIX

_RESEARCH_WORD = "research"


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something a peer would refuse or misread. code is stable, text names the attribute."""

    code: str
    text: str


def lint(dataset: Dataset, evidence: Evidence) -> tuple[Defect, ...]:
    """Every defect of a result object; empty where it may leave."""
    reference = evidence.reference
    checks = _CHECKS.get(str(dataset.SOPClassUID), ())
    return tuple(defect for check in (_common, *checks) for defect in check(dataset, reference))


def _common(dataset: Dataset, reference: ReferenceSeries) -> Iterator[Defect]:
    for keyword in IDENTITY_KEYWORDS:
        # The values themselves may name the patient: the text says which attribute, never what it holds.
        if (dataset.get(keyword) or None) != (reference.first.get(keyword) or None):
            yield Defect(code="identity-differs", text=f"{keyword} differs from the source")
    if str(dataset.SeriesInstanceUID) == reference.series_instance_uid:
        yield Defect(code="series-reused", text="the result is in the source's own series")
    if not str(dataset.get("SeriesDescription", "")).startswith(SERIES_DESCRIPTION_PREFIX):
        yield Defect(code="series-description", text="Series Description lacks our prefix")
    if dataset.get("ManufacturerModelName") != EQUIPMENT_NAME:
        yield Defect(code="not-marked", text="Manufacturer's Model Name does not mark the object as ours")
    for keyword in ("SeriesNumber", "SoftwareVersions", "DeviceSerialNumber", "SeriesDate", "ContentDate"):
        if not dataset.get(keyword):
            yield Defect(code="attribute-missing", text=f"{keyword} is absent or empty")
    if dataset.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        yield Defect(code="transfer-syntax", text="stored in another syntax than Explicit VR Little Endian")


def _segmentation(dataset: Dataset, reference: ReferenceSeries) -> Iterator[Defect]:
    referenced = dataset.get("ReferencedSeriesSequence", [])
    if [str(item.SeriesInstanceUID) for item in referenced] != [reference.series_instance_uid]:
        yield Defect(code="referenced-series", text="Referenced Series Sequence is not the one reference series")
    if str(dataset.get("FrameOfReferenceUID")) != reference.frame_of_reference_uid:
        yield Defect(code="frame-of-reference", text="Frame of Reference UID differs from the source")
    if dataset.get("SegmentationType") != "BINARY":
        yield Defect(code="segmentation-type", text="Segmentation Type is not BINARY")
    if _RESEARCH_WORD not in str(dataset.get("ContentDescription", "")).lower():
        yield Defect(code="research-notice", text="Content Description lacks the research notice")
    frame_count = int(dataset.get("NumberOfFrames", 0))
    segments = dataset.get("SegmentSequence", [])
    if frame_count == 0 or frame_count != len(segments) * len(reference.slices):
        yield Defect(code="frames", text=f"{frame_count} frames for {len(segments)} segments on every slice")
    slices = {(s.sop_instance_uid, s.frame_number): k for k, s in enumerate(reference.slices)}
    for number, frame in enumerate(dataset.get("PerFrameFunctionalGroupsSequence", []), 1):
        k = slices.get(_derived_from(frame) or ("", None))
        if k is None or not _lies_on(frame, reference, k):
            yield Defect(code="derivation", text=f"frame {number} does not name the source slice that it lies on")
    for segment in segments:
        for keyword in ("TrackingID", "TrackingUID", "RecommendedDisplayCIELabValue", "AnatomicRegionSequence"):
            if not segment.get(keyword):
                yield Defect(code="segment-attribute", text=f"segment {segment.SegmentNumber} has no {keyword}")
        if not segment.get("SegmentationAlgorithmIdentificationSequence"):
            yield Defect(code="segment-algorithm", text=f"segment {segment.SegmentNumber} names no algorithm")


def _derived_from(frame: Dataset) -> tuple[str, int | None] | None:
    """The source slice of a frame, if it names exactly one whose locations are preserved."""
    sources = [s for d in frame.get("DerivationImageSequence", []) for s in d.get("SourceImageSequence", [])]
    if len(sources) != 1 or sources[0].get("SpatialLocationsPreserved") != "YES":
        return None
    number = sources[0].get("ReferencedFrameNumber")
    return str(sources[0].ReferencedSOPInstanceUID), None if number is None else int(number)


def _lies_on(frame: Dataset, reference: ReferenceSeries, k: int) -> bool:
    """True where the frame's own position is that of source slice k, to a hundredth of a millimetre."""
    position = frame.PlanePositionSequence[0].ImagePositionPatient
    there, _ = slice_geometry(reference, k)
    return bool(max(abs(float(a) - b) for a, b in zip(position, there, strict=True)) < 0.01)


def _report(dataset: Dataset, reference: ReferenceSeries) -> Iterator[Defect]:
    if _code(dataset.get("ConceptNameCodeSequence")) != ("126000", "DCM"):
        yield Defect(code="title", text="the document title is not (126000, DCM, Imaging Measurement Report)")
    template = dataset.get("ContentTemplateSequence")
    if not template or (template[0].MappingResource, template[0].TemplateIdentifier) != ("DCMR", "1500"):
        yield Defect(code="template", text="Content Template Sequence does not say DCMR 1500")
    if dataset.get("VerificationFlag") != "UNVERIFIED":
        yield Defect(code="verification", text="no person has verified this, yet Verification Flag says so")
    if dataset.get("CompletionFlag") not in ("COMPLETE", "PARTIAL"):
        yield Defect(code="completion", text="Completion Flag is neither COMPLETE nor PARTIAL")
    items = list(_walk(dataset))
    library = [item for item in items if _code(item.get("ConceptNameCodeSequence")) == ("111028", "DCM")]
    referenced = {
        str(sop.ReferencedSOPInstanceUID)
        for entry in library
        for item in _walk(entry)
        for sop in item.get("ReferencedSOPSequence", [])
    }
    if referenced != {source.sop_instance_uid for source in reference.slices}:
        yield Defect(code="image-library", text="the Image Library is not the reference series, whole and alone")
    for group in (item for item in items if _code(item.get("ConceptNameCodeSequence")) == ("125007", "DCM")):
        names = {_code(child.get("ConceptNameCodeSequence")) for child in group.ContentSequence}
        if not {("112039", "DCM"), ("112040", "DCM")} <= names:
            yield Defect(code="tracking", text="a measurement group lacks its tracking identifier or UID")
    if not any(_RESEARCH_WORD in str(item.get("TextValue", "")).lower() for item in items):
        yield Defect(code="research-notice", text="no text item carries the research notice")


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _walk(child)


def _code(sequence: object) -> tuple[str, str] | None:
    if not isinstance(sequence, list) and not hasattr(sequence, "__getitem__"):
        return None
    first = sequence[0]
    return str(first.CodeValue), str(first.CodingSchemeDesignator)


_Check = Callable[[Dataset, ReferenceSeries], Iterator[Defect]]

_CHECKS: Mapping[str, tuple[_Check, ...]] = MappingProxyType(
    {
        str(SegmentationStorage): (_segmentation,),
        str(Comprehensive3DSRStorage): (_report,),
    }
)
