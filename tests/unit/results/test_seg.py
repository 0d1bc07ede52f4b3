"""The SEG read back by strangers' eyes: pydicom and highdicom on the file, never on the object in memory."""

from __future__ import annotations

import copy
from io import BytesIO

import highdicom
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import encode_all
from dicom_node.results.evidence import Evidence, EvidenceMismatch, ReferenceSeries, SliceSource
from dicom_node.results.seg import SegmentationEncoder
from pipeline.report import Label, Report
from tests.mr_series import AXIAL, CORONAL, SAGITTAL, MrSeries, mr_series, oblique
from tests.report_builders import PAINTED, STAMP, evidence_of, full_report, painted_labels, report_without_tumour

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}


def encoded(series: MrSeries, report: Report | None = None) -> EncodedObject:
    result = SegmentationEncoder().encode(report or full_report(series.grid), evidence_of(series), STAMP, ())
    assert result is not None
    return result


def read_back(result: EncodedObject) -> highdicom.seg.Segmentation:
    return highdicom.seg.Segmentation.from_dataset(dcmread(BytesIO(result.to_bytes())))


def painted_in_file(dataset: Dataset) -> dict[str, set[tuple[int, int, str, int | None]]]:
    """Label name to its voxels as (column, row, source SOP instance, source frame), from frames alone."""
    names = {int(s.SegmentNumber): s.SegmentLabel for s in dataset.SegmentSequence}
    found: dict[str, set[tuple[int, int, str, int | None]]] = {name: set() for name in names.values()}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, np.atleast_3d(dataset.pixel_array), strict=True):
        identification = (frame if "SegmentIdentificationSequence" in frame else shared).SegmentIdentificationSequence
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        number = source.get("ReferencedFrameNumber")
        for row, column in np.argwhere(pixels):
            found[names[int(identification[0].ReferencedSegmentNumber)]].add(
                (int(column), int(row), str(source.ReferencedSOPInstanceUID), None if number is None else int(number))
            )
    return found


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_every_painted_voxel_comes_back_on_its_own_slice(orientation: tuple[float, ...], enhanced: bool) -> None:
    series = mr_series(orientation=orientation, enhanced=enhanced)
    slices = evidence_of(series).reference.slices
    expected = {
        name: {(i, j, slices[k].sop_instance_uid, slices[k].frame_number) for i, j, k in PAINTED[label]}
        for name, label in [
            ("Necrotic tumor core (NCR)", Label.NCR),
            ("Edema (ED)", Label.ED),
            ("Enhancing tumor (ET)", Label.ET),
        ]
    }
    assert painted_in_file(read_back(encoded(series))) == expected


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_every_painted_voxel_comes_back_at_its_own_place(orientation: tuple[float, ...], enhanced: bool) -> None:
    """By the positions in the SEG alone, as a viewer that ignores the references would place it."""
    series = mr_series(orientation=orientation, enhanced=enhanced)
    volume = read_back(encoded(series)).get_volume(combine_segments=True)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    labels = dict(enumerate((Label.NCR, Label.ED, Label.ET), 1))
    found = {
        (labels[int(volume.array[tuple(index)])], *np.round((to_ras @ (*index, 1))[:3], 2))
        for index in np.argwhere(volume.array)
    }
    expected = {
        (label, *np.round((series.grid.affine @ (*voxel, 1))[:3], 2))
        for label, voxels in PAINTED.items()
        for voxel in voxels
    }
    assert found == expected


@pytest.mark.parametrize("absent", [(), (Label.ED,), (Label.ED, Label.NCR)], ids=["three", "two", "one"])
def test_frames_are_named_rightly_however_many_segments_share_a_slice(absent: tuple[Label, ...]) -> None:
    series = mr_series(enhanced=True)
    labels = painted_labels(series.grid)
    labels[np.isin(labels, absent)] = 0
    found = painted_in_file(read_back(encoded(series, full_report(series.grid, labels))))
    uid = str(series.datasets[0].SOPInstanceUID)
    assert found["Enhancing tumor (ET)"] == {(i, j, uid, 5 - k) for i, j, k in PAINTED[Label.ET]}


def test_a_series_of_two_multi_frame_images_is_written_with_both_named() -> None:
    whole = mr_series(enhanced=True, orientation=oblique())
    first, second = copy.deepcopy(whole.datasets[0]), copy.deepcopy(whole.datasets[0])
    frames = whole.datasets[0].PerFrameFunctionalGroupsSequence
    first.PerFrameFunctionalGroupsSequence, first.NumberOfFrames = list(frames[:2]), 2
    second.PerFrameFunctionalGroupsSequence, second.NumberOfFrames = list(frames[2:]), 3
    second.SOPInstanceUID = "2.25.5"
    # Frames are stored from the last slice to the first: slices 0 to 2 are in the second image.
    slices = [SliceSource(sop_instance_uid="2.25.5", frame_number=3 - k) for k in range(3)]
    slices += [SliceSource(sop_instance_uid=str(first.SOPInstanceUID), frame_number=5 - k) for k in (3, 4)]
    reference = ReferenceSeries(datasets=(first, second), slices=tuple(slices), grid=whole.grid)
    seg, _ = encode_all(full_report(whole.grid), Evidence(reference=reference), STAMP)
    found = painted_in_file(read_back(seg))
    assert found["Necrotic tumor core (NCR)"] == {(1, 2, str(first.SOPInstanceUID), 2)}
    assert found["Enhancing tumor (ET)"] == {(0, 4, "2.25.5", 3), (2, 3, "2.25.5", 1)}
    named = [i.ReferencedSOPInstanceUID for i in seg.dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    assert named == [first.SOPInstanceUID, "2.25.5"]


def test_a_random_segmentation_comes_back_whole() -> None:
    series = mr_series(orientation=oblique(), columns=13, rows=11, slices=9)
    labels = np.random.default_rng(3).choice(np.array([0, 1, 2, 4], np.uint8), series.grid.shape)
    seg = read_back(encoded(series, full_report(series.grid, labels)))
    source_uids = [d.SOPInstanceUID for d in series.datasets]
    numbers = seg.get_pixels_by_source_instance(source_uids, combine_segments=True)
    assert np.array_equal(np.array([0, 1, 2, 4], np.uint8)[numbers].transpose(2, 1, 0), labels)


def test_a_label_without_voxels_gets_no_segment() -> None:
    series = mr_series()
    labels = painted_labels(series.grid)
    labels[labels == Label.ED] = 0
    dataset = encoded(series, full_report(series.grid, labels)).dataset
    assert [(s.SegmentNumber, s.SegmentLabel) for s in dataset.SegmentSequence] == [
        (1, "Necrotic tumor core (NCR)"),
        (2, "Enhancing tumor (ET)"),
    ]
    assert dataset.NumberOfFrames == 2 * 5


def test_one_segment_alone_is_written_too() -> None:
    series = mr_series()
    labels = np.zeros(series.grid.shape, np.uint8)
    labels[2, 3, 4] = Label.ET
    seg = read_back(encoded(series, full_report(series.grid, labels)))
    uid = str(series.datasets[4].SOPInstanceUID)
    assert painted_in_file(seg) == {"Enhancing tumor (ET)": {(2, 3, uid, None)}}


def test_nothing_segmented_gives_no_object() -> None:
    series = mr_series()
    evidence, empty = evidence_of(series), np.zeros(series.grid.shape, np.uint8)
    assert SegmentationEncoder().encode(full_report(series.grid, empty), evidence, STAMP, ()) is None
    assert SegmentationEncoder().encode(report_without_tumour(series.grid), evidence, STAMP, ()) is None


def test_a_segmentation_on_another_grid_is_refused() -> None:
    series, other = mr_series(), mr_series(slice_spacing=4.0)
    with pytest.raises(EvidenceMismatch, match="not on its grid"):
        encoded(series, full_report(other.grid))


def test_what_viewers_read() -> None:
    series = mr_series()
    dataset = dcmread(BytesIO(encoded(series).to_bytes()))
    source = series.datasets[0]
    assert dataset.SegmentationType == "BINARY"
    assert [s.SeriesInstanceUID for s in dataset.ReferencedSeriesSequence] == [source.SeriesInstanceUID]
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert dataset.SegmentsOverlap == "NO"
    codes = [s.SegmentedPropertyTypeCodeSequence[0] for s in dataset.SegmentSequence]
    assert [(c.CodeValue, c.CodingSchemeDesignator) for c in codes] == [
        ("6574001", "SCT"),
        ("79654002", "SCT"),
        ("C113842", "NCIt"),
    ]
    first = dataset.SegmentSequence[0]
    assert first.SegmentAlgorithmName == "Segmenter 2.0"
    family = first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0]
    assert (family.CodeValue, family.CodingSchemeDesignator) == ("123110", "DCM")
    assert dataset.SeriesNumber == 9001
    assert dataset.SeriesDescription.startswith("BTN ")
    assert dataset.ManufacturerModelName == "brain-tumor-node"
    assert "Research use" in dataset.ContentDescription
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260304", "050607")


def test_the_same_compartment_is_tracked_by_one_uid_in_every_study_of_a_patient() -> None:
    def uids(study: str) -> list[str]:
        return [str(s.TrackingUID) for s in encoded(mr_series(study=study)).dataset.SegmentSequence]

    assert uids("1") == uids("2")
    assert len(set(uids("1"))) == 3
