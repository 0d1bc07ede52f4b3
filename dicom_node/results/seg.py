"""The segmentation as a DICOM Segmentation object on the reference series' own grid.

One of the two doors between RAS+ and LPS+: labels come as (column, row, slice) and leave as frames (slice, row, column)
in the order of the source slices, so no coordinate is computed at all and every voxel comes back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from dicom_node.result_kinds import ResultKind
from dicom_node.results.codes import (
    ARTIFICIAL_INTELLIGENCE,
    BRAIN,
    MORPHOLOGICALLY_ABNORMAL,
    REGION_KINDS,
    SEGMENT_KINDS,
    SegmentKind,
)
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, EvidenceMismatch, ReferenceSeries
from dicom_node.results.source_images import restore_references, source_images
from dicom_node.results.stamp import (
    EQUIPMENT_NAME,
    SERIES_DESCRIPTION_PREFIX,
    RunStamp,
    cite_replaced,
    equipment_arguments,
    finish,
    plain_text,
    result_uid,
    series_number,
    tracking_uid,
)
from pipeline.report import Label, ModelIdentity, Report, Segmentation, Skipped

#: Younger than the copy of the SOP classes that pydicom carries.
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
CONTENT_DESCRIPTION = "Research use only; not clinically validated"


@dataclass(frozen=True, kw_only=True)
class SegForm:
    """How one kind of SEG is written. number: its place among the run's series, 1..9.

    labelmap: one frame a slice that holds segment numbers, RLE; else one bit a voxel, segment and slice, uncompressed.
    """

    kind: str
    segments: tuple[SegmentKind, ...]
    number: int
    description: str
    content_label: str
    labelmap: bool = False


COMPARTMENTS = SegForm(
    kind=ResultKind.SEG,
    segments=SEGMENT_KINDS,
    number=1,
    description="Tumor segmentation (research)",
    content_label="BTN_SEG",
)
#: WT and TC overlap, which some viewers take for a fault: they never share an object with the compartments.
REGIONS = SegForm(
    kind=ResultKind.SEG_REGIONS,
    segments=REGION_KINDS,
    number=3,
    description="Tumor regions WT and TC (research)",
    content_label="BTN_REGIONS",
)
LABELMAP = SegForm(
    kind=ResultKind.LABELMAP,
    segments=SEGMENT_KINDS,
    number=5,
    description="Tumor label map (research)",
    content_label="BTN_LABELMAP",
    labelmap=True,
)


#: Every kind of SEG, in the order they are made.
FORMS: tuple[SegForm, ...] = (COMPARTMENTS, REGIONS, LABELMAP)


class SegmentationEncoder:
    """One SEG: by default the compartments NCR, ED and ET. What has no voxel gets no segment."""

    def __init__(self, form: SegForm = COMPARTMENTS) -> None:
        self.kind: str = str(form.kind)
        self.sop_class_uid = LABEL_MAP_STORAGE if form.labelmap else str(SegmentationStorage)
        self._form = form

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """A SEG, or None where nothing was segmented (the SR says so).

        Raises:
            EvidenceMismatch: the segmentation is on another grid than the reference series.
        """
        segmentation, form = report.segmentation, self._form
        if isinstance(segmentation, Skipped) or not segmentation.labels.any():
            return None
        reference = evidence.reference
        if not segmentation.grid.same_as(reference.grid, tolerance_mm=1e-2):
            raise EvidenceMismatch(reference.series_instance_uid, "the segmentation is not on its grid")
        kinds = present_kinds(segmentation, form.segments)
        dataset = highdicom.seg.Segmentation(
            source_images=source_images(reference),
            pixel_array=_pixels(segmentation, kinds),
            segmentation_type="LABELMAP" if form.labelmap else "BINARY",
            segment_descriptions=[
                _description(number, kind, segmentation.model, reference) for number, kind in enumerate(kinds, 1)
            ],
            series_instance_uid=result_uid(self.kind, "series", report, reference, stamp),
            series_number=series_number(stamp, form.number),
            sop_instance_uid=result_uid(self.kind, "instance", report, reference, stamp),
            instance_number=1,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}{form.description}",
            content_label=form.content_label,
            content_description=CONTENT_DESCRIPTION,
            content_creator_name=f"{EQUIPMENT_NAME}^",
            transfer_syntax_uid=RLELossless if form.labelmap else ExplicitVRLittleEndian,
            # Viewers have mapped frames to slices wrongly where empty ones were left out.
            omit_empty_frames=stamp.options.omit_empty_frames,
            **equipment_arguments(report, reference, stamp),
        )
        finish(dataset, reference, stamp)
        cite_replaced(dataset, self.kind, stamp)
        restore_references(dataset, reference)
        _set_dimension_uid(dataset, result_uid(self.kind, "dimensions", report, reference, stamp))
        return EncodedObject(kind=self.kind, dataset=dataset)


def present_kinds(segmentation: Segmentation, kinds: Sequence[SegmentKind] = SEGMENT_KINDS) -> tuple[SegmentKind, ...]:
    """The kinds of segment with at least one voxel; segment number n is the n-th of them."""
    present = {int(value) for value in np.unique(segmentation.labels)}
    return tuple(kind for kind in kinds if present & {int(label) for label in kind.labels})


def _pixels(segmentation: Segmentation, kinds: Sequence[SegmentKind]) -> np.ndarray:
    """uint8 (slices, rows, columns) of segment numbers, or, where segments overlap, (..., segments) of 0 and 1."""
    labels = segmentation.labels.transpose(2, 1, 0)
    if sum(len(kind.labels) for kind in kinds) == len({label for kind in kinds for label in kind.labels}):
        numbers = np.zeros(int(max(Label)) + 1, np.uint8)
        for number, kind in enumerate(kinds, 1):
            numbers[list(kind.labels)] = number
        return numbers[labels]
    inside = np.zeros((len(kinds), int(max(Label)) + 1), np.uint8)
    for row, kind in zip(inside, kinds, strict=True):
        row[list(kind.labels)] = 1
    return np.moveaxis(np.stack([row[labels] for row in inside]), 0, -1)


def segment_tracking_id(kind: SegmentKind) -> str:
    """Tracking ID of a segment; the same in every study of a patient."""
    return f"{EQUIPMENT_NAME} {kind.subject}"


def _description(
    number: int, kind: SegmentKind, model: ModelIdentity, reference: ReferenceSeries
) -> highdicom.seg.SegmentDescription:
    name, version = plain_text(model.name, 64), plain_text(model.version, 64)
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=kind.text,
        segmented_property_category=MORPHOLOGICALLY_ABNORMAL,
        segmented_property_type=kind.property_type,
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=name,
            family=ARTIFICIAL_INTELLIGENCE,
            version=version,
            source=EQUIPMENT_NAME,
            parameters={"weights_sha256": model.weights_sha256},
        ),
        tracking_uid=tracking_uid(reference, kind.subject),
        tracking_id=segment_tracking_id(kind),
        anatomic_regions=[BRAIN],
        display_color=CIELabColor.from_rgb(*kind.rgb),
    )
    description.SegmentAlgorithmName = f"{name} {version}"[:64]
    return description


def _set_dimension_uid(dataset: Dataset, uid: str) -> None:
    """Replace the Dimension Organization UID that the library drew at random."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
