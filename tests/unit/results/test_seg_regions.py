"""WT and TC in a SEG of their own, the label map, and frames left out on request."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import highdicom
import numpy as np
from pydicom import dcmread

from dicom_node.results.encoders import encode_all
from dicom_node.results.stamp import EncodingOptions, PredecessorDocument
from pipeline.report import Label
from tests.mr_series import mr_series, oblique
from tests.report_builders import PAINTED, STAMP, evidence_of, full_report

SERIES = mr_series(orientation=oblique())
KINDS = ("SEG", "SEG-REGIONS", "LABELMAP", "SR")
MADE = {o.kind: o for o in encode_all(full_report(SERIES.grid), evidence_of(SERIES), STAMP, KINDS)}


def read(kind: str) -> highdicom.seg.Segmentation:
    return highdicom.seg.Segmentation.from_dataset(dcmread(BytesIO(MADE[kind].to_bytes())))


def test_regions_overlap_and_hold_the_voxels_of_their_labels() -> None:
    seg = read("SEG-REGIONS")
    assert seg.SegmentsOverlap == "YES"
    assert [(s.SegmentNumber, s.SegmentLabel) for s in seg.SegmentSequence] == [
        (1, "Whole tumor (WT)"),
        (2, "Tumor core (TC)"),
    ]
    found = seg.get_pixels_by_source_instance([d.SOPInstanceUID for d in SERIES.datasets])
    for number, labels in ((0, (Label.NCR, Label.ED, Label.ET)), (1, (Label.NCR, Label.ET))):
        painted = {(i, j, k) for label in labels for i, j, k in PAINTED[label]}
        assert {(int(i), int(j), int(k)) for k, j, i in np.argwhere(found[..., number])} == painted


def test_regions_are_tracked_as_in_the_report_and_from_study_to_study() -> None:
    def tracking(study: str) -> list[str]:
        series = mr_series(study=study)
        (seg,) = encode_all(full_report(series.grid), evidence_of(series), STAMP, ["SEG-REGIONS"])
        return [str(s.TrackingUID) for s in seg.dataset.SegmentSequence]

    assert tracking("1") == tracking("2")
    uids = {str(e.value) for e in MADE["SR"].dataset.iterall() if e.VR == "UI"}
    assert set(tracking("1")) <= uids


def test_the_report_points_at_the_segments_of_both_segmentations() -> None:
    pointed = {
        (str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID), int(number))
        for item in MADE["SR"].dataset.iterall()
        if item.VR == "SQ" and item.keyword == "ContentSequence"
        for item in item.value
        if "ReferencedSOPSequence" in item
        and (number := item.ReferencedSOPSequence[0].get("ReferencedSegmentNumber")) is not None
    }
    expected = {(MADE["SEG"].sop_instance_uid, n) for n in (1, 2, 3)}
    assert pointed == expected | {(MADE["SEG-REGIONS"].sop_instance_uid, n) for n in (1, 2)}


def test_the_label_map_holds_the_same_voxels_as_the_compartments() -> None:
    made = MADE["LABELMAP"].dataset
    assert (made.SegmentationType, made.file_meta.TransferSyntaxUID.name) == ("LABELMAP", "RLE Lossless")
    uids = [d.SOPInstanceUID for d in SERIES.datasets]
    numbers = [read(kind).get_pixels_by_source_instance(uids, combine_segments=True) for kind in ("SEG", "LABELMAP")]
    assert np.array_equal(*numbers)
    assert numbers[0].any()


def test_empty_frames_are_left_out_on_request_under_other_uids() -> None:
    stamp = replace(STAMP, options=EncodingOptions(omit_empty_frames=True))
    (sparse,) = encode_all(full_report(SERIES.grid), evidence_of(SERIES), replace(stamp, run_number=1), ["SR"])
    assert sparse.sop_instance_uid != MADE["SR"].sop_instance_uid
    from dicom_node.results.encoders import encode_checked

    (((seg), defects),) = encode_checked(full_report(SERIES.grid), evidence_of(SERIES), stamp, ["SEG"])
    assert seg.dataset.NumberOfFrames == 5
    assert {(d.code, frozenset(d.profiles)) for d in defects} == {("frames-left-out", frozenset({"ohif"}))}


def test_an_image_names_the_one_it_replaces() -> None:
    first = MADE["SEG"]
    predecessor = PredecessorDocument(
        study_instance_uid=str(first.dataset.StudyInstanceUID),
        series_instance_uid=first.series_instance_uid,
        sop_class_uid=first.sop_class_uid,
        sop_instance_uid=first.sop_instance_uid,
    )
    stamp = replace(STAMP, run_number=2, predecessors={"SEG": predecessor})
    (second,) = encode_all(full_report(SERIES.grid), evidence_of(SERIES), stamp, ["SEG"])
    assert second.dataset.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == first.sop_instance_uid
    assert second.sop_instance_uid != first.sop_instance_uid
