"""The measurement groups of the report (TID 1411 for segments, TID 1501 for all that has no segment)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import highdicom.sr as hd
import numpy as np
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import ReferenceSeries, ras_to_lps
from dicom_node.results.seg import present_kinds, segment_tracking_id
from dicom_node.results.stamp import EQUIPMENT_NAME, RunStamp, plain_text, result_uid, tracking_uid
from pipeline.report import (
    DiameterLine,
    Finding,
    Lesion,
    Measurement,
    ModelIdentity,
    Report,
    Segmentation,
    Skipped,
    Stage,
)


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
        tracking_identifier=_study_tracking("stages", report, reference, stamp),
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
        tracking_identifier=_study_tracking("detection", report, reference, stamp),
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        algorithm_id=_algorithm(finding.model),
        measurements=[_number(codes.PROBABILITY, finding.probability, codes.RATIO)],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(name=codes.NEOPLASM, value=codes.PRESENT if present else codes.ABSENT)
        ],
    )


def type_group(
    finding: Finding, report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.MeasurementsAndQualitativeEvaluations:
    """The suggested tumour type, with the probability of every class."""
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_study_tracking("tumor type", report, reference, stamp),
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        algorithm_id=_algorithm(finding.model),
        measurements=[
            _number(codes.type_probability_code(name), probability, codes.RATIO)
            for name, probability in finding.probabilities.items()
        ],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(name=codes.PREDICTED_TYPE, value=codes.tumour_type_code(finding.value))
        ],
    )


def segment_groups(
    report: Report, segmentation: Segmentation, seg: EncodedObject, reference: ReferenceSeries
) -> list[hd.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    """One TID 1411 group for each segment of the SEG: its volume, and whatever else was measured of it."""
    groups = []
    for number, kind in enumerate(present_kinds(segmentation), 1):
        measured = _measurements_of(report, kind.label.name, lesion=None)
        if not any(m.quantity == "volume" for m in measured):
            voxels = int(np.count_nonzero(segmentation.labels == kind.label))
            volume_ml = voxels * segmentation.grid.voxel_volume_ml
            measured = (
                Measurement(quantity="volume", subject=kind.label.name, value=volume_ml, unit="mL"),
                *measured,
            )
        groups.append(
            hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.TrackingIdentifier(
                    uid=tracking_uid(reference, kind.label.name), identifier=segment_tracking_id(kind)
                ),
                referenced_segment=hd.ReferencedSegment(
                    sop_class_uid=seg.sop_class_uid,
                    sop_instance_uid=seg.sop_instance_uid,
                    segment_number=number,
                    source_series=hd.SourceSeriesForSegmentation(reference.series_instance_uid),
                ),
                finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
                finding_type=kind.property_type,
                finding_sites=[hd.FindingSite(codes.BRAIN)],
                algorithm_id=_algorithm(segmentation.model),
                measurements=[_measured(m) for m in measured],
            )
        )
    return groups


def total_groups(
    report: Report, segmented: Iterable[str], reference: ReferenceSeries
) -> list[hd.MeasurementsAndQualitativeEvaluations]:
    """Totals of what has no segment of its own (WT and TC): a group may not point at several segments."""
    segmented_names = set(segmented)
    subjects = dict.fromkeys(m.subject for m in _all(report) if m.lesion is None and m.subject not in segmented_names)
    groups = []
    for subject in subjects:
        name, finding = _subject(subject)
        groups.append(
            hd.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.TrackingIdentifier(
                    uid=tracking_uid(reference, subject), identifier=f"{EQUIPMENT_NAME} {name}"
                ),
                finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
                finding_type=finding,
                finding_sites=[hd.FindingSite(codes.BRAIN)],
                measurements=[_measured(m) for m in _measurements_of(report, subject, lesion=None)],
            )
        )
    return groups


def lesion_groups(
    report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> list[hd.MeasurementsAndQualitativeEvaluations]:
    """One group for each lesion: volume, and both diameters with their ends as 3D coordinates.

    Lesions are numbered by falling volume, which says nothing of the next study: their tracking UIDs hold for this
    run alone.
    """
    return [_lesion_group(lesion, report, reference, stamp) for lesion in report.lesions]


def _lesion_group(
    lesion: Lesion, report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.MeasurementsAndQualitativeEvaluations:
    numbers = [_number(codes.VOLUME, lesion.volume_ml, codes.MILLILITER, method=codes.SUM_OF_VOXELS)]
    for name, line in ((codes.LONG_AXIS, lesion.longest), (codes.SHORT_AXIS, lesion.perpendicular)):
        if line is not None:
            numbers.append(_diameter(name, line, reference))
    told = {codes.VOLUME, codes.LONG_AXIS, codes.SHORT_AXIS}
    more = [m for m in _all(report) if m.lesion == lesion.number and codes.quantity_code(m.quantity) not in told]
    numbers.extend(_measured(m) for m in more)
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_study_tracking(f"lesion {lesion.number}", report, reference, stamp),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
        finding_type=codes.LESION_OF_BRAIN,
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        measurements=numbers,
    )


def _diameter(name: Code, line: DiameterLine, reference: ReferenceSeries) -> hd.Measurement:
    ends = hd.CoordinatesForMeasurement3D(
        graphic_type="POLYLINE",
        graphic_data=ras_to_lps([line.start_mm, line.end_mm]),
        frame_of_reference_uid=reference.frame_of_reference_uid,
    )
    return hd.Measurement(
        name=name, value=round(line.length_mm, 2), unit=codes.MILLIMETER, referenced_coordinates=[ends]
    )


def _study_tracking(what: str, report: Report, reference: ReferenceSeries, stamp: RunStamp) -> hd.TrackingIdentifier:
    return hd.TrackingIdentifier(
        uid=result_uid("SR", f"tracking {what}", report, reference, stamp), identifier=f"{EQUIPMENT_NAME} {what}"
    )


def _algorithm(model: ModelIdentity) -> hd.AlgorithmIdentification:
    return hd.AlgorithmIdentification(
        name=plain_text(model.name, 64),
        version=plain_text(model.version, 64),
        parameters=[f"weights_sha256={model.weights_sha256}"],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=EQUIPMENT_NAME,
    )


def _measured(measurement: Measurement) -> hd.Measurement:
    name = codes.quantity_code(measurement.quantity)
    return _number(
        name,
        measurement.value,
        codes.unit_code(measurement.unit),
        method=codes.SUM_OF_VOXELS if name == codes.VOLUME else None,
    )


def _number(name: Code, value: float, unit: Code, method: Code | None = None) -> hd.Measurement:
    # DS holds 16 characters; four decimals are finer than any voxel or probability deserves.
    return hd.Measurement(name=name, value=round(float(value), 4), unit=unit, method=method)


def _all(report: Report) -> Sequence[Measurement]:
    return () if isinstance(report.measurements, Skipped) else report.measurements


def _measurements_of(report: Report, subject: str, *, lesion: int | None) -> tuple[Measurement, ...]:
    return tuple(m for m in _all(report) if m.subject == subject and m.lesion == lesion)


def _subject(subject: str) -> tuple[str, Code]:
    return codes.SUBJECTS.get(subject) or (plain_text(subject, 64), codes.private_code(subject, subject))
