"""Patient and study of a result are the source's, to the byte, whatever the source holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.results.encoders import encode_all
from dicom_node.results.stamp import IDENTITY_KEYWORDS
from dicom_node.results.time_zones import time_zone
from dicom_node.results.written_report import subject_of
from tests.mr_series import MrSeries, mr_series
from tests.report_builders import STAMP, evidence_of, full_report

NAMES = [
    (None, "Plain^Name"),
    ("ISO_IR 100", "Äneas^Rüdiger"),
    ("ISO_IR 144", "Люкceмбypг"),
    ("ISO_IR 166", "นามสกุล^ชื่อ"),
    ("ISO_IR 192", "王^小东"),
    ("GB18030", "Wang^XiaoDong=王^小东"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("ISO_IR 192", "Three^Parts=三^部=さん^ぶ"),
]


def as_read(series: MrSeries) -> MrSeries:
    """The series as it comes from files."""
    read = []
    for dataset in series.datasets:
        file = BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        read.append(dcmread(file, stop_before_pixels=True))
    return replace(series, datasets=tuple(read))


def raw_element(data: bytes, keyword: str) -> bytes:
    """The undecoded value bytes of a root element of a DICOM file."""
    dataset = dcmread(BytesIO(data))
    element = dataset.get_item(keyword)
    assert element is not None
    return bytes(element.value)


@pytest.mark.parametrize(("character_set", "name"), NAMES)
def test_names_in_every_character_set_are_the_sources_bytes(character_set: str | None, name: str) -> None:
    series = as_read(mr_series(patient_name=name, character_set=character_set))
    source = BytesIO()
    series.datasets[0].save_as(source, enforce_file_format=True)
    for result in encode_all(full_report(series.grid), evidence_of(series), STAMP):
        assert raw_element(result.to_bytes(), "PatientName") == raw_element(source.getvalue(), "PatientName")
        assert dcmread(BytesIO(result.to_bytes())).PatientName == name


def test_every_identity_attribute_is_copied() -> None:
    series = mr_series()
    for result in encode_all(full_report(series.grid), evidence_of(series), STAMP):
        dataset = dcmread(BytesIO(result.to_bytes()))
        for keyword in IDENTITY_KEYWORDS:
            assert dataset.get(keyword) == series.datasets[0].get(keyword), keyword
        assert (dataset.PatientID, dataset.IssuerOfPatientID, dataset.AccessionNumber) == ("ID-7", "WARD9", "ACC5")


def test_encoding_leaves_the_source_as_it_was() -> None:
    for enhanced in (False, True):
        series = mr_series(enhanced=enhanced)
        before = [dataset.to_json() for dataset in series.datasets]
        encode_all(full_report(series.grid), evidence_of(series), STAMP)
        assert [dataset.to_json() for dataset in series.datasets] == before


@pytest.mark.parametrize(
    "gone",
    [
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
    ],
)
def test_an_attribute_that_the_source_lacks_stops_nothing(gone: str) -> None:
    series = mr_series()
    for dataset in series.datasets:
        delattr(dataset, gone)
    seg, sr = encode_all(full_report(series.grid), evidence_of(series), STAMP)
    assert not seg.dataset.get(gone)
    assert not sr.dataset.get(gone)


def test_a_sex_and_a_slice_thickness_that_the_standard_does_not_know_stop_nothing() -> None:
    series = mr_series()
    for dataset in series.datasets:
        dataset.PatientSex = "U"
        dataset.SliceThickness = None
        dataset.SpacingBetweenSlices = None
    seg, _ = encode_all(full_report(series.grid), evidence_of(series), STAMP)
    assert seg.dataset.PatientSex == "U"


def test_orientations_that_differ_in_the_last_digit_stop_nothing() -> None:
    series = mr_series()
    series.datasets[2].ImageOrientationPatient = [1, 0.0001, 0, 0, 1, 0]
    assert len(encode_all(full_report(series.grid), evidence_of(series), STAMP)) == 2


def test_times_are_in_the_sources_time_zone_where_it_states_one() -> None:
    series = mr_series()
    for dataset in series.datasets:
        dataset.TimezoneOffsetFromUTC = "-0330"
    stamp = replace(STAMP, started_at=datetime(2026, 3, 4, 1, 2, 3, tzinfo=UTC))
    for result in encode_all(full_report(series.grid), evidence_of(series), stamp):
        dataset = dcmread(BytesIO(result.to_bytes()))
        assert dataset.TimezoneOffsetFromUTC == "-0330"
        assert (dataset.ContentDate, dataset.ContentTime) == ("20260303", "213203")
        assert (dataset.SeriesDate, dataset.InstanceCreationTime) == ("20260303", "213203")


def as_received(series: MrSeries, keyword: str, value: bytes) -> MrSeries:
    """The series as it comes from files in which an attribute has this value, undecoded."""
    tag, vr = Tag(keyword), dictionary_VR(keyword)
    read = as_read(series)
    for dataset in read.datasets:
        holders = [dataset]
        if "PerFrameFunctionalGroupsSequence" in dataset and vr == "DS":
            holders = [frame.PixelMeasuresSequence[0] for frame in dataset.PerFrameFunctionalGroupsSequence]
        for holder in holders:
            holder[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return read


@pytest.mark.parametrize(
    "value", [b"01:00 ", b"+1:00 ", b"UTC+1 ", b"+2500 ", b"+0199 ", b"+01:00", b"+0100\\+0200 ", b""]
)
def test_a_time_zone_that_is_none_counts_as_absent(value: bytes) -> None:
    series = as_received(mr_series(), "TimezoneOffsetFromUTC", value)
    for result in encode_all(full_report(series.grid), evidence_of(series), STAMP):
        dataset = dcmread(BytesIO(result.to_bytes()))
        assert "TimezoneOffsetFromUTC" not in dataset
        assert (dataset.ContentDate, dataset.ContentTime) == ("20260304", "050607")
    assert subject_of(series.datasets[0], STAMP).analysed_at == datetime(2026, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("value", "hours"), [("+1400", 14.0), ("-1200", -12.0), ("+0530", 5.5), ("+1401", None), ("0100", None)]
)
def test_time_zones_are_within_fourteen_hours(value: str, hours: float | None) -> None:
    dataset = Dataset()
    dataset.TimezoneOffsetFromUTC = value
    assert time_zone(dataset) == (None if hours is None else timezone(timedelta(hours=hours)))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("keyword", ["SliceThickness", "SpacingBetweenSlices"])
@pytest.mark.parametrize("value", [b"5mm ", b"1,5 ", b"nan ", b"1\\2 ", b"0 ", b""])
def test_lengths_that_are_no_numbers_stop_nothing(value: bytes, keyword: str, enhanced: bool) -> None:
    series = as_received(mr_series(enhanced=enhanced), keyword, value)
    seg, _ = encode_all(full_report(series.grid), evidence_of(series), STAMP)
    measures = seg.dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == 3.0
