"""The report's groups of what ran, what was found, and of each segment (TID 1501 and TID 1411)."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom.sr as hd
import numpy as np

from dicom_node.results import codes
from dicom_node.results.codes import SegmentKind
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.seg import segment_tracking_id
from dicom_node.results.sr_numbers import algorithm, measured, measurements_of, number, run_tracking
from dicom_node.results.stamp import RunStamp, tracking_uid
from pipeline.report import Finding, Measurement, Report, Segmentation, Skipped, Stage


def stages_group(
    report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.MeasurementsAndQualitativeEvaluations:
    """One evaluation for each stage: completed, or the coded reason why it did not run."""
    states: list[tuple[Stage, object]] = [
        (Stage.DETECT, report.detection),
        (Stage.CLASSIFY, report.tumour_type),
        (Stage.SEGMENT, report.segmentation),
        (Stage.MEASURE, report.measurements),
    ]
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=run_tracking("stages", report, reference, stamp),
        qualitative_evaluations=[
            hd.QualitativeEvaluation(
                name=codes.stage_code(stage),
                value=codes.skip_code(state.code) if isinstance(state, Skipped) else codes.STAGE_COMPLETED,
            )
            for stage, state in states
        ],
    )


def detection_group(
    finding: Finding, report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.MeasurementsAndQualitativeEvaluations:
    """Neoplasm present or absent, with the probability of that answer."""
    present = finding.value == "tumour"
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=run_tracking("detection", report, reference, stamp),
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        algorithm_id=algorithm(finding.model),
        measurements=[number(codes.PROBABILITY, finding.probability, codes.RATIO)],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(name=codes.NEOPLASM, value=codes.PRESENT if present else codes.ABSENT)
        ],
    )


def type_group(
    finding: Finding, report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.MeasurementsAndQualitativeEvaluations:
    """The suggested tumour type, with the probability of every class."""
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=run_tracking("tumor type", report, reference, stamp),
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        algorithm_id=algorithm(finding.model),
        measurements=[
            number(codes.type_probability_code(name), probability, codes.RATIO)
            for name, probability in finding.probabilities.items()
        ],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(name=codes.PREDICTED_TYPE, value=codes.tumour_type_code(finding.value))
        ],
    )


def response_groups(
    report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> list[hd.MeasurementsAndQualitativeEvaluations]:
    """For each method, the category suggested from images alone; the comments have its arithmetic and its limits."""
    if report.follow_up is None:
        return []
    return [
        hd.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=run_tracking(f"response by {response.method}", report, reference, stamp),
            qualitative_evaluations=[
                hd.QualitativeEvaluation(name=codes.RESPONSE_METHOD, value=codes.RANO),
                hd.QualitativeEvaluation(
                    name=codes.RESPONSE_BASIS, value=codes.private_code(basis, f"Suggested: {response.method}")
                ),
                hd.QualitativeEvaluation(name=codes.CURRENT_RESPONSE, value=codes.response_code(response.category)),
            ],
        )
        for basis, response in (("diameters", report.follow_up.diameters), ("volume", report.follow_up.volume))
        if response is not None
    ]


def segment_groups(
    report: Report,
    segmentation: Segmentation,
    seg: EncodedObject,
    kinds: Sequence[SegmentKind],
    reference: ReferenceSeries,
) -> list[hd.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    """One TID 1411 group for each segment of the SEG: its volume, and whatever else was measured of it.

    kinds: the segments' kinds in the order of their numbers.
    """
    groups = []
    for segment_number, kind in enumerate(kinds, 1):
        numbers = measurements_of(report, kind.subject, lesion=None)
        if not any(m.quantity == "volume" for m in numbers):
            voxels = int(np.count_nonzero(np.isin(segmentation.labels, kind.labels)))
            volume_ml = voxels * segmentation.grid.voxel_volume_ml
            total = Measurement(quantity="volume", subject=kind.subject, value=volume_ml, unit="mL")
            numbers = (total, *numbers)
        groups.append(
            hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.TrackingIdentifier(
                    uid=tracking_uid(reference, kind.subject), identifier=segment_tracking_id(kind)
                ),
                referenced_segment=hd.ReferencedSegment(
                    sop_class_uid=seg.sop_class_uid,
                    sop_instance_uid=seg.sop_instance_uid,
                    segment_number=segment_number,
                    source_series=hd.SourceSeriesForSegmentation(reference.series_instance_uid),
                ),
                finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
                finding_type=kind.property_type,
                finding_sites=[hd.FindingSite(codes.BRAIN)],
                algorithm_id=algorithm(segmentation.model),
                measurements=[measured(m, report, reference, drawn=False) for m in numbers],
            )
        )
    return groups
