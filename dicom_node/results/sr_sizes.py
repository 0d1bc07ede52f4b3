"""The report's sizes of what has no segment of its own: WT and TC in total, and each lesion (TID 1501)."""

from __future__ import annotations

from collections.abc import Iterable

import highdicom.sr as hd
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.sr_numbers import all_measurements, measured, measurements_of, run_tracking
from dicom_node.results.stamp import EQUIPMENT_NAME, RunStamp, plain_text, tracking_uid
from dicom_node.uids import derive_uid
from pipeline.report import Measurement, Report


def total_groups(
    report: Report, segmented: Iterable[str], reference: ReferenceSeries
) -> list[hd.MeasurementsAndQualitativeEvaluations]:
    """Totals of what is no segment: a group may not point at several segments, so WT and TC point at none."""
    done = set(segmented)
    subjects = dict.fromkeys(m.subject for m in all_measurements(report) if m.lesion is None and m.subject not in done)
    groups = []
    for subject in subjects:
        name, finding = named(subject)
        tracking = hd.TrackingIdentifier(uid=tracking_uid(reference, subject), identifier=f"{EQUIPMENT_NAME} {name}")
        numbers = measurements_of(report, subject, lesion=None)
        groups.append(_group(tracking, finding, numbers, report, reference))
    return groups


def lesion_groups(
    report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> list[hd.MeasurementsAndQualitativeEvaluations]:
    """One group for each lesion and each part of it that is there.

    Lesions are numbered by falling volume, which says nothing of the next study: their tracking UIDs hold for this
    run alone.
    """
    groups = []
    for lesion in report.lesions:
        own = [m for m in all_measurements(report) if m.lesion == lesion.number and m.value > 0]
        if not any(m.subject == "WT" and m.quantity == "volume" for m in own):
            whole = Measurement(
                quantity="volume", subject="WT", value=lesion.volume_ml, unit="mL", lesion=lesion.number
            )
            own.insert(0, whole)
        for subject in dict.fromkeys(m.subject for m in own):
            _, finding = named(subject)
            tracking = lesion_tracking(lesion.number, subject, report, reference, stamp)
            numbers = tuple(m for m in own if m.subject == subject)
            groups.append(_group(tracking, finding, numbers, report, reference))
    return groups


def lesion_tracking(
    lesion: int, subject: str, report: Report, reference: ReferenceSeries, stamp: RunStamp
) -> hd.TrackingIdentifier:
    """The tracking of one part of a lesion, the same in every document of the run.

    Where earlier results were looked at, it is the same lesion's at every date; else it holds for this run alone.
    """
    name, _ = named(subject)
    known = next((one.tracking_uid for one in report.lesions if one.number == lesion and one.tracking_uid), None)
    if known is not None:
        # The whole lesion keeps its own UID; each further part has one derived from it.
        uid = known if subject == "WT" else derive_uid("tracking", known, subject)
        return hd.TrackingIdentifier(uid=uid, identifier=f"{EQUIPMENT_NAME} lesion {lesion} {name}")
    return run_tracking(f"lesion {lesion} {name}", report, reference, stamp)


def _group(
    tracking: hd.TrackingIdentifier,
    finding: Code,
    numbers: tuple[Measurement, ...],
    report: Report,
    reference: ReferenceSeries,
) -> hd.MeasurementsAndQualitativeEvaluations:
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
        finding_type=finding,
        finding_sites=[hd.FindingSite(codes.BRAIN)],
        measurements=[measured(m, report, reference) for m in numbers],
    )


def named(subject: str) -> tuple[str, Code]:
    """What a measurement's subject is called, and its code as a finding."""
    return codes.SUBJECTS.get(subject) or (plain_text(subject, 64), codes.private_code(subject, subject))
