"""The SR read back from its bytes as a plain tree of items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.encoders import encode_all
from dicom_node.results.stamp import PredecessorDocument, RunStamp
from pipeline.report import RESEARCH_NOTICE, Flag, Report, SkipCode, Skipped, Stage
from tests.mr_series import mr_series
from tests.report_builders import (
    STAMP,
    evidence_of,
    full_report,
    report_without_models,
    report_without_tumour,
)

SERIES = mr_series()


FULL = encode_all(full_report(SERIES.grid), evidence_of(SERIES), STAMP)


def document(report: Report | None = None, stamp: RunStamp = STAMP) -> Dataset:
    *_, sr = FULL if report is None else encode_all(report, evidence_of(SERIES), stamp)
    return dcmread(BytesIO(sr.to_bytes()))


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def groups(sr: Dataset) -> dict[str, Dataset]:
    found = {}
    for item in walk(sr):
        if item.ValueType == "CONTAINER" and name(item) == "Measurement Group":
            tracking = next(child for child in item.ContentSequence if name(child) == "Tracking Identifier")
            found[str(tracking.TextValue)] = item
    return found


def numbers(group: Dataset) -> dict[str, tuple[float, str]]:
    return {
        name(item): (
            float(item.MeasuredValueSequence[0].NumericValue),
            str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue),
        )
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def answers(group: Dataset) -> dict[str, str]:
    return {name(i): str(i.ConceptCodeSequence[0].CodeMeaning) for i in group.ContentSequence if i.ValueType == "CODE"}


def comments(sr: Dataset) -> list[str]:
    container = next(i for i in walk(sr) if i.ValueType == "CONTAINER" and name(i) == "Qualitative Evaluations")
    return [str(item.TextValue) for item in container.ContentSequence]


def test_the_frame_of_the_document() -> None:
    sr = document()
    assert sr.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    title = sr.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("126000", "DCM")
    assert (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    assert (sr.SeriesNumber, sr.Modality) == (9002, "SR")
    names = {name(item) for item in walk(sr)}
    assert {"Language of Content Item and Descendants", "Observer Type", "Procedure reported", "Image Library"} <= names


def test_a_full_report_has_these_groups_and_numbers() -> None:
    found = groups(document())
    prefix = "brain-tumor-node "
    assert list(found) == [
        prefix + what
        for what in ("stages", "detection", "tumor type", "NCR", "ED", "ET", "Whole tumor (WT)", "Tumor core (TC)")
    ] + [prefix + "lesion 1 Whole tumor (WT)", prefix + "lesion 1 Tumor core (TC)"]
    assert answers(found[prefix + "detection"])["Neoplasm"] == "Present"
    assert numbers(found[prefix + "detection"]) == {"Probability": (0.9877, "1")}
    assert answers(found[prefix + "tumor type"])["Tumor type suggested by an image classifier"] == "Glioma"
    assert numbers(found[prefix + "tumor type"]) == {
        "Probability of glioma": (0.8, "1"),
        "Probability of meningioma": (0.15, "1"),
        "Probability of pituitary": (0.05, "1"),
    }
    assert numbers(found[prefix + "Whole tumor (WT)"]) == {"Volume": (12.3457, "mL")}
    assert numbers(found[prefix + "Tumor core (TC)"]) == {"Volume": (3.5, "mL"), "Long Axis": (21.5, "mm")}
    assert numbers(found[prefix + "lesion 1 Whole tumor (WT)"]) == {"Volume": (12.3457, "mL")}
    assert numbers(found[prefix + "lesion 1 Tumor core (TC)"]) == {
        "Volume": (3.5, "mL"),
        "Long Axis": (21.5, "mm"),
        "Short Axis": (10.0, "mm"),
    }


def test_a_segments_volume_is_the_pipelines_or_else_the_sum_of_its_voxels() -> None:
    found = groups(document())
    voxel_ml = 1.3 * 1.2 * 3.0 / 1000
    assert numbers(found["brain-tumor-node ET"]) == {"Volume": (1.25, "mL")}
    assert numbers(found["brain-tumor-node ED"])["Volume"][0] == pytest.approx(2 * voxel_ml, abs=5e-5)


def test_each_segment_group_points_at_its_own_segment_of_the_seg() -> None:
    seg, sr = FULL
    segments = {str(s.TrackingID): int(s.SegmentNumber) for s in seg.dataset.SegmentSequence}
    found = groups(sr.dataset)
    for tracking, number in segments.items():
        group = found[tracking]
        reference = next(i for i in group.ContentSequence if name(i) == "Referenced Segment").ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == seg.sop_instance_uid
        assert reference.ReferencedSegmentNumber == number
        source = next(i for i in group.ContentSequence if name(i).lower() == "source series for segmentation")
        assert SERIES.datasets[0].SeriesInstanceUID == source.UID
        uid = next(i for i in group.ContentSequence if name(i) == "Tracking Unique Identifier").UID
        assert uid == seg.dataset.SegmentSequence[number - 1].TrackingUID


def test_diameters_carry_both_ends_in_patient_coordinates_lps() -> None:
    group = groups(document())["brain-tumor-node lesion 1 Tumor core (TC)"]
    ends = {
        name(number): [float(v) for v in number.ContentSequence[0].GraphicData]
        for number in group.ContentSequence
        if number.ValueType == "NUM"
        and "ContentSequence" in number
        and number.ContentSequence[0].ValueType == "SCOORD3D"
    }
    assert ends == {
        "Long Axis": [-10.0, -20.0, 30.0, -31.5, -20.0, 30.0],
        "Short Axis": [-20.0, -15.0, 30.0, -20.0, -25.0, 30.0],
    }


def test_the_image_library_is_the_reference_series_alone() -> None:
    sr = document()
    library = next(i for i in walk(sr) if i.ValueType == "CONTAINER" and name(i) == "Image Library")
    images = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in walk(library) if i.ValueType == "IMAGE"]
    assert images == [d.SOPInstanceUID for d in SERIES.datasets]


def test_the_evidence_lists_the_other_series_too() -> None:
    sr = document()
    series = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    listed = {str(s.SeriesInstanceUID): len(s.ReferencedSOPSequence) for s in series}
    assert listed[str(SERIES.datasets[0].SeriesInstanceUID)] == 5
    assert listed["2.25.77"] == 2
    assert len(listed) == 3


def test_what_a_person_should_read() -> None:
    said = comments(document())
    assert said[0] == RESEARCH_NOTICE
    assert "Series read: T1CE, FLAIR. Results are on the grid of T1CE." in said
    assert "Flag low-overlap: the FLAIR series covers 90 % of the head" in said
    assert "FLAIR was registered to T1CE: 1.3 mm, 0.8 degrees, overlap 0.97." in said
    assert f"Model for segmentation: Segmenter 2.0, weights sha256 {'c' * 64}" in said
    assert all(text.isascii() for text in said)


def test_no_tumour_is_a_complete_report_that_says_so() -> None:
    sr = document(report_without_tumour(SERIES.grid))
    found = groups(sr)
    assert sr.CompletionFlag == "COMPLETE"
    assert answers(found["brain-tumor-node detection"])["Neoplasm"] == "Absent"
    states = answers(found["brain-tumor-node stages"])
    assert states["State of stage: detect"] == "Stage completed"
    assert states["State of stage: segment"] == "Stage not run: no-tumour-detected"
    assert any("the detector found no tumour" in text for text in comments(sr))


def test_an_empty_segmentation_is_said_in_words() -> None:
    report = full_report(SERIES.grid)
    labels = report.segmentation.labels * 0
    sr = document(full_report(SERIES.grid, labels))
    assert "No tumor segmented: the model marked no voxel." in comments(sr)
    assert "brain-tumor-node ET" not in groups(sr) or "Referenced Segment" not in {name(i) for i in walk(sr)}


def test_a_run_without_models_is_partial_with_coded_reasons() -> None:
    sr = document(report_without_models(SERIES.grid))
    assert sr.CompletionFlag == "PARTIAL"
    states = answers(groups(sr)["brain-tumor-node stages"])
    assert set(states.values()) == {"Stage not run: model-unavailable", "Stage not run: nothing-segmented"}


@pytest.mark.parametrize("code", [SkipCode.ROLE_MISSING, SkipCode.REGISTRATION_FAILED, SkipCode.STAGE_FAILED])
def test_a_missing_contrast_or_a_failure_makes_the_report_partial(code: SkipCode) -> None:
    skipped = Skipped(stage=Stage.SEGMENT, code=code, reason="why")
    assert document(replace(full_report(SERIES.grid), segmentation=skipped)).CompletionFlag == "PARTIAL"


def test_a_second_run_names_the_document_it_replaces() -> None:
    first = document()
    predecessor = PredecessorDocument(
        study_instance_uid=str(first.StudyInstanceUID),
        series_instance_uid=str(first.SeriesInstanceUID),
        sop_class_uid=str(first.SOPClassUID),
        sop_instance_uid=str(first.SOPInstanceUID),
    )
    second = document(full_report(SERIES.grid), replace(STAMP, run_number=2, predecessors={"SR": predecessor}))
    replaced = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert replaced.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.SOPInstanceUID != first.SOPInstanceUID


def test_the_device_uid_changes_with_the_weights() -> None:
    def device(report: Report) -> str:
        return next(str(i.UID) for i in walk(document(report)) if name(i) == "Device Observer UID")

    report = full_report(SERIES.grid)
    assert isinstance(report.detection, type(report.tumour_type))
    other = replace(
        report, detection=replace(report.detection, model=replace(report.detection.model, weights_sha256="f" * 64))
    )
    assert device(report) == device(report) != device(other)


def ranges(group: Dataset) -> dict[str, dict[str, tuple[float, str]]]:
    """Of each number of a group what hangs below it as a property."""
    return {
        name(item): numbers(item) for item in group.ContentSequence if item.ValueType == "NUM" and numbers_below(item)
    }


def numbers_below(item: Dataset) -> bool:
    return any(child.ValueType == "NUM" for child in item.get("ContentSequence", []))


def test_a_volume_has_its_interval_as_ranges_of_uncertainty_in_its_own_unit() -> None:
    found = groups(document())
    above, below = "+, range of upper measurement uncertainty", "-, range of lower measurement uncertainty"
    assert ranges(found["brain-tumor-node Whole tumor (WT)"]) == {
        "Volume": {above: (3.1543, "mL"), below: (2.0957, "mL")}
    }
    assert ranges(found["brain-tumor-node ET"]) == {"Volume": {above: (0.75, "mL"), below: (0.5, "mL")}}
    assert ranges(found["brain-tumor-node Tumor core (TC)"]) == {}


def test_intervals_and_calibration_stand_in_words() -> None:
    said = comments(document())
    assert "WT volume: 12.3 mL, 10.2 to 15.5" in said
    assert any(text.startswith("Interval of a volume: from what the segmenter takes for tumour") for text in said)
    assert any(
        text.startswith("Detection: Calibrated probabilities: expected calibration error 0.031") for text in said
    )
    assert "Tumor type: The model states no calibration of its probabilities." in said


def test_what_the_input_check_found_stands_in_words() -> None:
    flag = Flag(code="roles-exchanged", text="The series taken for T1 and T2 look exchanged.")
    said = comments(document(replace(full_report(SERIES.grid), flags=(flag,))))
    assert "Flag roles-exchanged: The series taken for T1 and T2 look exchanged." in said
