"""What is demanded of a segmentation: one source series, every frame on its slice, segments that viewers can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_node.results.evidence import ReferenceSeries, slice_geometry
from dicom_node.results.lint_rule import Check, Profile, Rule, code_of, rule
from dicom_node.results.seg import LABEL_MAP_STORAGE

_RESEARCH_WORD = "research"
_BOTH = frozenset({str(SegmentationStorage), LABEL_MAP_STORAGE})
_BINARY = frozenset({str(SegmentationStorage)})


def _referenced_series(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    referenced = dataset.get("ReferencedSeriesSequence", [])
    if [str(item.SeriesInstanceUID) for item in referenced] != [reference.series_instance_uid]:
        yield "Referenced Series Sequence is not the one reference series"


def _frame_of_reference(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if str(dataset.get("FrameOfReferenceUID")) != reference.frame_of_reference_uid:
        yield "Frame of Reference UID differs from the source"


def _type(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    expected = "LABELMAP" if str(dataset.SOPClassUID) == LABEL_MAP_STORAGE else "BINARY"
    if dataset.get("SegmentationType") != expected:
        yield f"Segmentation Type is not {expected}"


def _notice(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if _RESEARCH_WORD not in str(dataset.get("ContentDescription", "")).lower():
        yield "Content Description lacks the research notice"


def _frames(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    stated, groups = int(dataset.get("NumberOfFrames", 0)), dataset.get("PerFrameFunctionalGroupsSequence", [])
    if stated == 0 or stated != len(groups):
        yield f"Number of Frames is {stated}, there are {len(groups)} per-frame groups"
    elif str(dataset.SOPClassUID) == str(SegmentationStorage) and "PixelData" in dataset:
        bits = stated * int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("BitsAllocated", 1))
        whole = -(-bits // 8)
        if len(dataset.PixelData) != whole + whole % 2:
            yield "Pixel Data is not as long as its frames"


def _every_slice(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    layers = 1 if str(dataset.SOPClassUID) == LABEL_MAP_STORAGE else len(dataset.get("SegmentSequence", []))
    frames = int(dataset.get("NumberOfFrames", 0))
    if frames != layers * len(reference.slices):
        yield f"{frames} frames for {layers} segments on {len(reference.slices)} slices: some are left out"


def _derivation(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    slices = {(s.sop_instance_uid, s.frame_number): k for k, s in enumerate(reference.slices)}
    for number, frame in enumerate(dataset.get("PerFrameFunctionalGroupsSequence", []), 1):
        k = slices.get(_derived_from(frame) or ("", None))
        if k is None or not _lies_on(frame, reference, k):
            yield f"frame {number} does not name the source slice that it lies on"


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


def _matrix(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if (int(dataset.Columns), int(dataset.Rows)) != reference.grid.shape[:2]:
        yield "rows and columns differ from the source's: viewers do not resample"


def _numbering(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    numbers = [int(segment.SegmentNumber) for segment in dataset.get("SegmentSequence", [])]
    # A label map's background is segment 0.
    if [n for n in numbers if n > 0] != list(range(1, len([n for n in numbers if n > 0]) + 1)):
        yield "segments are not numbered 1, 2, 3 and so on"
    repeated = [number for number, times in Counter(numbers).items() if times > 1]
    if repeated:
        yield f"segment {repeated[0]} is there twice"


def _shown(dataset: Dataset) -> Iterator[Dataset]:
    return (segment for segment in dataset.get("SegmentSequence", []) if int(segment.SegmentNumber) > 0)


def _segment(keyword: str) -> Check:
    def check(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
        for segment in _shown(dataset):
            if not segment.get(keyword):
                yield f"segment {segment.SegmentNumber} has no {keyword}"

    return check


def _tracking(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for segment in _shown(dataset):
        if not (segment.get("TrackingID") and segment.get("TrackingUID")):
            yield f"segment {segment.SegmentNumber} lacks one of TrackingID and TrackingUID, which need each other"


def _coded(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    for segment in _shown(dataset):
        for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
            if not all(code_of(segment.get(keyword)) or ("",)):
                yield f"segment {segment.SegmentNumber}: {keyword} is no code"


RULES: tuple[Rule, ...] = (
    rule("referenced-series", _referenced_series, Profile.DICOM, Profile.OHIF, classes=_BOTH),
    rule("frame-of-reference", _frame_of_reference, classes=_BOTH),
    rule("segmentation-type", _type, classes=_BOTH),
    rule("research-notice", _notice, classes=_BOTH),
    rule("frames", _frames, classes=_BOTH),
    rule("segment-numbers", _numbering, classes=_BOTH),
    rule("segment-code", _coded, classes=_BOTH),
    rule("segment-tracking", _tracking, classes=_BOTH),
    rule("segment-algorithm", _segment("SegmentationAlgorithmIdentificationSequence"), classes=_BOTH),
    rule("segment-anatomy", _segment("AnatomicRegionSequence"), classes=_BOTH),
    rule("segment-label", _segment("SegmentLabel"), Profile.DICOM, Profile.WEASIS, classes=_BOTH),
    rule("derivation", _derivation, Profile.DICOM, Profile.WEASIS, classes=_BOTH),
    rule("matrix", _matrix, Profile.OHIF, Profile.WEASIS, classes=_BOTH),
    rule("frames-left-out", _every_slice, Profile.OHIF, classes=_BOTH),
    rule("segment-colour", _segment("RecommendedDisplayCIELabValue"), Profile.OHIF, classes=_BINARY),
)
