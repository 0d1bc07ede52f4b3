"""The segmentation as a DICOM Segmentation object on the reference series' own grid.

One of the two doors between RAS+ and LPS+: labels come as (column, row, slice) and leave as frames (slice, row, column)
in the order of the source slices, so no coordinate is computed at all and every voxel comes back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from dicom_node.results.codes import (
    ARTIFICIAL_INTELLIGENCE,
    BRAIN,
    MORPHOLOGICALLY_ABNORMAL,
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
    equipment_arguments,
    finish,
    plain_text,
    result_uid,
    series_number,
    tracking_uid,
)
from pipeline.report import ModelIdentity, Report, Segmentation, Skipped

CONTENT_DESCRIPTION = "Research use only; not clinically validated"


class SegmentationEncoder:
    """BINARY segments NCR, ED and ET that do not overlap; labels without a voxel get no segment."""

    kind = "SEG"
    sop_class_uid = str(SegmentationStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """A SEG, or None where nothing was segmented (the SR says so).

        Raises:
            EvidenceMismatch: the segmentation is on another grid than the reference series.
        """
        segmentation = report.segmentation
        if isinstance(segmentation, Skipped) or not segmentation.labels.any():
            return None
        reference = evidence.reference
        if not segmentation.grid.same_as(reference.grid, tolerance_mm=1e-2):
            raise EvidenceMismatch(reference.series_instance_uid, "the segmentation is not on its grid")
        kinds = present_kinds(segmentation)
        dataset = highdicom.seg.Segmentation(
            source_images=source_images(reference),
            pixel_array=segment_numbers(segmentation, kinds).transpose(2, 1, 0),
            segmentation_type="BINARY",
            segment_descriptions=[
                _description(number, kind, segmentation.model, reference) for number, kind in enumerate(kinds, 1)
            ],
            series_instance_uid=result_uid(self.kind, "series", report, reference, stamp),
            series_number=series_number(stamp, 1),
            sop_instance_uid=result_uid(self.kind, "instance", report, reference, stamp),
            instance_number=1,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}Tumor segmentation (research)",
            content_label="BTN_SEG",
            content_description=CONTENT_DESCRIPTION,
            content_creator_name=f"{EQUIPMENT_NAME}^",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            # Viewers have mapped frames to slices wrongly where empty ones were left out.
            omit_empty_frames=False,
            **equipment_arguments(report, reference, stamp),
        )
        finish(dataset, reference, stamp)
        restore_references(dataset, reference)
        _set_dimension_uid(dataset, result_uid(self.kind, "dimensions", report, reference, stamp))
        return EncodedObject(kind=self.kind, dataset=dataset)


def present_kinds(segmentation: Segmentation) -> tuple[SegmentKind, ...]:
    """The kinds of segment with at least one voxel; segment number n is the n-th of them."""
    return tuple(kind for kind in SEGMENT_KINDS if (segmentation.labels == kind.label).any())


def segment_numbers(segmentation: Segmentation, kinds: Sequence[SegmentKind]) -> np.ndarray:
    """uint8 (I, J, K): 0, or the number of the voxel's segment."""
    numbers = np.zeros_like(segmentation.labels)
    for number, kind in enumerate(kinds, 1):
        numbers[segmentation.labels == kind.label] = number
    return numbers


def segment_tracking_id(kind: SegmentKind) -> str:
    """Tracking ID of a compartment; the same in every study of a patient."""
    return f"{EQUIPMENT_NAME} {kind.label.name}"


def _description(
    number: int, kind: SegmentKind, model: ModelIdentity, reference: ReferenceSeries
) -> highdicom.seg.SegmentDescription:
    name, version = plain_text(model.name, 64), plain_text(model.version, 64)
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"{kind.name} ({kind.label.name})",
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
        tracking_uid=tracking_uid(reference, kind.label.name),
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
