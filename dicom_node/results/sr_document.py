"""What our two SRs have in common: the frame of a TID 1500 document around its groups.

Comprehensive 3D SR, title and template as viewers insist on them, the Image Library, the evidence, the predecessor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom.sr as hd
from pydicom import Dataset

from dicom_node.results import codes
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, SeriesEvidence
from dicom_node.results.image_library import image_library
from dicom_node.results.source_images import evidence_images
from dicom_node.results.stamp import (
    EQUIPMENT_NAME,
    SERIES_DESCRIPTION_PREFIX,
    PredecessorDocument,
    RunStamp,
    device_serial_number,
    device_uid,
    equipment_arguments,
    finish,
    plain_text,
    result_uid,
    series_number,
)
from pipeline.report import Report


@dataclass(frozen=True, kw_only=True)
class DocumentFrame:
    """How one kind of SR is known. number: its place among the run's series, 1..9."""

    kind: str
    number: int
    description: str
    is_complete: bool = True


def document(
    frame: DocumentFrame,
    groups: Sequence[object],
    sentences: Sequence[str],
    report: Report,
    evidence: Evidence,
    stamp: RunStamp,
    referenced: Sequence[EncodedObject] = (),
) -> EncodedObject:
    """The SR. groups: highdicom's measurement groups. sentences: what a person should read, put into ASCII.

    referenced: result objects that a group points at, and no others.
    """
    reference = evidence.reference
    images = evidence_images(reference)
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=device_observer(report)),
        procedure_reported=codes.BRAIN_MRI,
        imaging_measurements=list(groups),
        title=codes.IMAGING_MEASUREMENT_REPORT,
        language_of_content_item_and_descendants=hd.LanguageOfContentItemAndDescendants(codes.ENGLISH),
    )
    items = content[0].ContentSequence
    # TID 1500 has the library before the measurements, which highdicom puts last.
    items.insert(len(items) - 1, image_library(images, reference))
    items.append(_comments(sentences))
    replaced = stamp.predecessors.get(frame.kind)
    dataset = hd.Comprehensive3DSR(
        evidence=[*images, *(item.dataset for item in referenced)],
        content=content[0],
        series_instance_uid=result_uid(frame.kind, "series", report, reference, stamp),
        series_number=series_number(stamp, frame.number),
        sop_instance_uid=result_uid(frame.kind, "instance", report, reference, stamp),
        instance_number=1,
        series_description=f"{SERIES_DESCRIPTION_PREFIX}{frame.description}",
        is_complete=frame.is_complete,
        is_final=False,
        is_verified=False,
        previous_versions=None if replaced is None else [_predecessor(replaced)],
        **equipment_arguments(report, reference, stamp),
    )
    _add_evidence(dataset, evidence.others)
    finish(dataset, reference, stamp)
    return EncodedObject(kind=frame.kind, dataset=dataset)


def device_observer(report: Report) -> hd.ObserverContext:
    """This node with these weights as the observer."""
    return hd.ObserverContext(
        observer_type=codes.DEVICE,
        observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
            uid=device_uid(report),
            name=EQUIPMENT_NAME,
            manufacturer_name=EQUIPMENT_NAME,
            model_name=EQUIPMENT_NAME,
            serial_number=device_serial_number(report),
        ),
    )


def _comments(sentences: Sequence[str]) -> hd.ContainerContentItem:
    """TID 1500's Qualitative Evaluations: the sentences a person should read."""
    container = hd.ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS, relationship_type=hd.RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = hd.ContentSequence(
        [
            hd.TextContentItem(
                name=codes.COMMENT, value=plain_text(text), relationship_type=hd.RelationshipTypeValues.CONTAINS
            )
            for text in sentences
        ]
    )
    return container


def _predecessor(document: PredecessorDocument) -> Dataset:
    dataset = Dataset()
    dataset.StudyInstanceUID = document.study_instance_uid
    dataset.SeriesInstanceUID = document.series_instance_uid
    dataset.SOPClassUID = document.sop_class_uid
    dataset.SOPInstanceUID = document.sop_instance_uid
    return dataset


def _add_evidence(dataset: Dataset, others: Sequence[SeriesEvidence]) -> None:
    """List the series that were read but are referenced by no content item, beside those that are."""
    for series in others:
        item = Dataset()
        item.SeriesInstanceUID = series.series_instance_uid
        item.ReferencedSOPSequence = []
        for sop_class_uid, sop_instance_uid in series.instances:
            instance = Dataset()
            instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
            item.ReferencedSOPSequence.append(instance)
        dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.append(item)
