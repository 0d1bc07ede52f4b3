"""The report as a Comprehensive 3D SR of template TID 1500 (Imaging Measurement Report).

It is written for every run, also where nothing was found or a stage could not run: an absent report would leave the
reader to guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom.sr as hd
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.results import codes
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, ReferenceSeries, SeriesEvidence
from dicom_node.results.image_library import image_library
from dicom_node.results.seg import present_kinds
from dicom_node.results.source_images import evidence_images
from dicom_node.results.sr_groups import (
    detection_group,
    segment_groups,
    stages_group,
    type_group,
)
from dicom_node.results.sr_numbers import all_measurements
from dicom_node.results.sr_sizes import lesion_groups, total_groups
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
from pipeline.report import (
    VOLUME_INTERVAL_RULE,
    Finding,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    calibration_text,
)

#: Skips that leave the report unfinished. The others are answers: no tumour means nothing to type or segment.
_UNFINISHED = frozenset(
    {SkipCode.ROLE_MISSING, SkipCode.MODEL_UNAVAILABLE, SkipCode.REGISTRATION_FAILED, SkipCode.STAGE_FAILED}
)


class ReportEncoder:
    """TID 1500 with what was found, measured and skipped, by which models, and the research notice."""

    kind = "SR"
    sop_class_uid = str(Comprehensive3DSRStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The SR; it refers to the SEG among `previous` where there is one."""
        reference = evidence.reference
        images = evidence_images(reference)
        seg = next((p for p in previous if p.kind == "SEG"), None)
        content = hd.MeasurementReport(
            observation_context=_observer(report),
            procedure_reported=codes.BRAIN_MRI,
            imaging_measurements=_groups(report, seg, reference, stamp),
            title=codes.IMAGING_MEASUREMENT_REPORT,
            language_of_content_item_and_descendants=hd.LanguageOfContentItemAndDescendants(codes.ENGLISH),
        )
        items = content[0].ContentSequence
        # TID 1500 has the library before the measurements, which highdicom puts last.
        items.insert(len(items) - 1, image_library(images, reference))
        items.append(_comments(report, seg))
        dataset = hd.Comprehensive3DSR(
            evidence=images if seg is None else [*images, seg.dataset],
            content=content[0],
            series_instance_uid=result_uid(self.kind, "series", report, reference, stamp),
            series_number=series_number(stamp, 2),
            sop_instance_uid=result_uid(self.kind, "instance", report, reference, stamp),
            instance_number=1,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}Tumor report (research)",
            is_complete=not any(skipped.code in _UNFINISHED for skipped in report.skipped),
            is_final=False,
            is_verified=False,
            previous_versions=None if stamp.predecessor is None else [_predecessor(stamp.predecessor)],
            **equipment_arguments(report, reference, stamp),
        )
        _add_evidence(dataset, evidence.others)
        finish(dataset, reference, stamp)
        return EncodedObject(kind=self.kind, dataset=dataset)


def _groups(report: Report, seg: EncodedObject | None, reference: ReferenceSeries, stamp: RunStamp) -> list[object]:
    groups: list[object] = [stages_group(report, reference, stamp)]
    if isinstance(report.detection, Finding):
        groups.append(detection_group(report.detection, report, reference, stamp))
    if isinstance(report.tumour_type, Finding):
        groups.append(type_group(report.tumour_type, report, reference, stamp))
    segmented: list[str] = []
    if seg is not None and isinstance(report.segmentation, Segmentation):
        groups.extend(segment_groups(report, report.segmentation, seg, reference))
        segmented = [kind.label.name for kind in present_kinds(report.segmentation)]
    groups.extend(total_groups(report, segmented, reference))
    groups.extend(lesion_groups(report, reference, stamp))
    return groups


def _observer(report: Report) -> hd.ObservationContext:
    return hd.ObservationContext(
        observer_device_context=hd.ObserverContext(
            observer_type=codes.DEVICE,
            observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
                uid=device_uid(report),
                name=EQUIPMENT_NAME,
                manufacturer_name=EQUIPMENT_NAME,
                model_name=EQUIPMENT_NAME,
                serial_number=device_serial_number(report),
            ),
        )
    )


def _comments(report: Report, seg: EncodedObject | None) -> hd.ContainerContentItem:
    """TID 1500's Qualitative Evaluations: the sentences a person should read."""
    container = hd.ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS, relationship_type=hd.RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = hd.ContentSequence(
        [
            hd.TextContentItem(
                name=codes.COMMENT, value=plain_text(text), relationship_type=hd.RelationshipTypeValues.CONTAINS
            )
            for text in _sentences(report, seg)
        ]
    )
    return container


def _sentences(report: Report, seg: EncodedObject | None) -> list[str]:
    sentences = [report.notice]
    roles = ", ".join(role.value for role in report.roles)
    sentences.append(f"Series read: {roles}. Results are on the grid of {report.reference_role.value}.")
    if seg is None and not isinstance(report.segmentation, Skipped):
        sentences.append("No tumor segmented: the model marked no voxel.")
    sentences += [f"Not run: {s.stage.value}: {s.code.value}: {s.reason}" for s in report.skipped]
    for name, finding in (("Detection", report.detection), ("Tumor type", report.tumour_type)):
        if isinstance(finding, Finding):
            sentences.append(f"{name}: {finding.value} ({finding.role.value}; {finding.basis})")
            sentences.append(f"{name}: {calibration_text(finding.calibration_error)}")
    intervals = [m for m in all_measurements(report) if m.low is not None]
    sentences += [f"{m.subject} {m.quantity}: {m.value:.1f} {m.unit}, {m.low:.1f} to {m.high:.1f}" for m in intervals]
    if intervals:
        sentences.append(VOLUME_INTERVAL_RULE)
    sentences += [f"Model for {m.task}: {m.name} {m.version}, weights sha256 {m.weights_sha256}" for m in report.models]
    sentences += [f"Chosen for {c.stage.value}: {c.model} {c.version}: {c.reason}" for c in report.choices]
    sentences += [
        f"{r.role.value} was registered to {report.reference_role.value}: {r.translation_mm:.1f} mm, "
        f"{r.rotation_deg:.1f} degrees, overlap {r.overlap:.2f}."
        for r in report.registrations
    ]
    sentences += [f"Flag {flag.code}: {flag.text}" for flag in report.flags]
    return sentences


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
