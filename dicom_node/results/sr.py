"""The report as a Comprehensive 3D SR of template TID 1500 (Imaging Measurement Report).

It is written for every run, also where nothing was found or a stage could not run: an absent report would leave the
reader to guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.result_kinds import ResultKind
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, ReferenceSeries
from dicom_node.results.seg import FORMS, present_kinds
from dicom_node.results.sr_document import DocumentFrame, document
from dicom_node.results.sr_groups import (
    detection_group,
    response_groups,
    segment_groups,
    stages_group,
    type_group,
)
from dicom_node.results.sr_numbers import all_measurements
from dicom_node.results.sr_sizes import lesion_groups, total_groups
from dicom_node.results.stamp import RunStamp
from pipeline.report import (
    VOLUME_INTERVAL_RULE,
    Finding,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    calibration_text,
)

#: The SEGs whose segments the report measures, by kind.
_SEGMENTED = {str(form.kind): form.segments for form in FORMS if not form.labelmap}

#: Skips that leave the report unfinished. The others are answers: no tumour means nothing to type or segment.
_UNFINISHED = frozenset(
    {SkipCode.ROLE_MISSING, SkipCode.MODEL_UNAVAILABLE, SkipCode.REGISTRATION_FAILED, SkipCode.STAGE_FAILED}
)


class ReportEncoder:
    """TID 1500 with what was found, measured and skipped, by which models, and the research notice."""

    kind: str = ResultKind.SR.value
    sop_class_uid = str(Comprehensive3DSRStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The SR; it refers to the SEGs among `previous`."""
        segs = [p for p in previous if p.kind in _SEGMENTED]
        frame = DocumentFrame(
            kind=self.kind,
            number=2,
            description="Tumor report (research)",
            is_complete=not any(skipped.code in _UNFINISHED for skipped in report.skipped),
        )
        groups = _groups(report, segs, evidence.reference, stamp)
        sentences = _sentences(report, has_seg=bool(segs))
        return document(frame, groups, sentences, report, evidence, stamp, segs)


def _groups(report: Report, segs: Sequence[EncodedObject], reference: ReferenceSeries, stamp: RunStamp) -> list[object]:
    groups: list[object] = [stages_group(report, reference, stamp)]
    if isinstance(report.detection, Finding):
        groups.append(detection_group(report.detection, report, reference, stamp))
    if isinstance(report.tumour_type, Finding):
        groups.append(type_group(report.tumour_type, report, reference, stamp))
    segmented: list[str] = []
    for seg in segs:
        if isinstance(report.segmentation, Segmentation):
            kinds = present_kinds(report.segmentation, _SEGMENTED[seg.kind])
            groups.extend(segment_groups(report, report.segmentation, seg, kinds, reference))
            segmented += [kind.subject for kind in kinds]
    groups.extend(total_groups(report, segmented, reference))
    groups.extend(lesion_groups(report, reference, stamp))
    groups.extend(response_groups(report, reference, stamp))
    return groups


def _sentences(report: Report, *, has_seg: bool) -> list[str]:
    sentences = [report.notice]
    roles = ", ".join(role.value for role in report.roles)
    sentences.append(f"Series read: {roles}. Results are on the grid of {report.reference_role.value}.")
    if not has_seg and not isinstance(report.segmentation, Skipped):
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
    sentences += [f"Lesion {one.number}: {one.place.text}" for one in report.lesions if one.place is not None]
    sentences += _course(report)
    sentences += [f"Flag {flag.code}: {flag.text}" for flag in report.flags]
    return sentences


def _course(report: Report) -> list[str]:
    """What is suggested of the course since the earlier visits, with its arithmetic and what it leaves open."""
    if report.follow_up is None:
        return []
    responses = [one for one in (report.follow_up.diameters, report.follow_up.volume) if one is not None]
    told = [report.follow_up.note] if report.follow_up.note else []
    for one in responses:
        told.append(f"Suggested by {one.method} from images alone: {one.category.value}. {' '.join(one.arithmetic)}")
    return [*told, *dict.fromkeys(one.notice for one in responses)]
