"""Each model stands in SEG and SR as a device whose UID follows the hash of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

from pydicom import Dataset, dcmread

from dicom_node.results.encoders import encode_all
from pipeline.models.ensemble import ensemble_identity
from pipeline.report import Finding, ModelChoice, ModelIdentity, Report, Segmentation, Stage
from tests.mr_series import MrSeries, mr_series
from tests.report_builders import CLASSIFIER, DETECTOR, SEGMENTER, STAMP, evidence_of, full_report


def encoded(report: Report, series: MrSeries) -> Sequence[Dataset]:
    return [dcmread(BytesIO(result.to_bytes())) for result in encode_all(report, evidence_of(series), STAMP)]


def devices(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """Model name to Device UID and Device Serial Number."""
    return {
        item.ManufacturerModelName: (str(item.DeviceUID), item.DeviceSerialNumber)
        for item in dataset.ContributingEquipmentSequence
        if item.get("ContributionDescription", "").startswith("Model for")
    }


def with_detector(report: Report, model: ModelIdentity) -> Report:
    assert isinstance(report.detection, Finding)
    return replace(report, detection=replace(report.detection, model=model))


def test_other_weights_are_another_device_and_only_theirs_changes() -> None:
    series = mr_series()
    report = full_report(series.grid)
    changed = with_detector(report, replace(DETECTOR, weights_sha256="9" * 64))
    for before, after in zip(encoded(report, series), encoded(changed, series), strict=True):
        was, now = devices(before), devices(after)
        assert set(was) == {DETECTOR.name, CLASSIFIER.name, SEGMENTER.name}
        assert [name for name in was if was[name] != now[name]] == [DETECTOR.name]
        assert now[DETECTOR.name][1] == "9" * 64
        assert before.DeviceSerialNumber != after.DeviceSerialNumber


def test_another_version_of_the_same_weights_is_the_same_device() -> None:
    series = mr_series()
    report = full_report(series.grid)
    for before, after in zip(
        encoded(report, series), encoded(with_detector(report, replace(DETECTOR, version="7")), series), strict=True
    ):
        assert devices(before) == devices(after)


def test_every_member_of_an_ensemble_is_a_device_of_its_own() -> None:
    series = mr_series()
    report = full_report(series.grid)
    assert isinstance(report.segmentation, Segmentation)
    members = [replace(SEGMENTER, name=name, weights_sha256=name * 64) for name in "ef"]
    both = ensemble_identity("both", members)
    ensemble = replace(
        report, segmentation=Segmentation(labels=report.segmentation.labels, grid=series.grid, model=both)
    )
    for dataset in encoded(ensemble, series):
        found = devices(dataset)
        assert {name: serial for name, (_, serial) in found.items() if name in "ef"} == {"e": "e" * 64, "f": "f" * 64}
    assert encoded(ensemble, series)[0].SegmentSequence[0].SegmentAlgorithmName.startswith("both: e + f")


def test_the_sr_says_which_model_was_chosen_and_why() -> None:
    series = mr_series()
    choice = ModelChoice(stage=Stage.SEGMENT, model="Segmenter", version="2.0", reason="the only active model")
    _, sr = encoded(replace(full_report(series.grid), choices=(choice,)), series)
    texts = [str(item.TextValue) for item in sr.ContentSequence[-1].ContentSequence]
    assert "Chosen for segment: Segmenter 2.0: the only active model" in texts
