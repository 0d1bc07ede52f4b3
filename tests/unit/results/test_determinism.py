"""A run encoded again gives the same files; another run gives other UIDs."""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import sha256
from io import BytesIO

from pydicom import Dataset, dcmread

from dicom_node.results.encoders import encode_all
from pipeline.report import ModelIdentity, Segmentation
from tests.mr_series import mr_series
from tests.report_builders import SEGMENTER, STAMP, evidence_of, full_report


def all_uids(dataset: Dataset) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.VR == "UI" and element.value}


def test_a_run_encoded_twice_gives_the_same_bytes() -> None:
    for enhanced in (False, True):
        series = mr_series(enhanced=enhanced)
        first = [
            sha256(r.to_bytes()).hexdigest() for r in encode_all(full_report(series.grid), evidence_of(series), STAMP)
        ]
        time.sleep(1.1)  # highdicom takes the clock in seconds
        second = [
            sha256(r.to_bytes()).hexdigest() for r in encode_all(full_report(series.grid), evidence_of(series), STAMP)
        ]
        assert first == second


def test_no_uid_is_random() -> None:
    series = mr_series()
    for result in encode_all(full_report(series.grid), evidence_of(series), STAMP):
        ours = [uid for uid in all_uids(dcmread(BytesIO(result.to_bytes()))) if not uid.startswith("1.2.840.10008.")]
        assert ours
        assert all(uid.startswith("2.25.") for uid in ours)


def test_another_run_other_weights_or_another_version_give_other_objects() -> None:
    series = mr_series()
    report = full_report(series.grid)
    other_weights = replace(
        report,
        segmentation=Segmentation(
            labels=report.segmentation.labels,
            grid=series.grid,
            model=ModelIdentity(
                name=SEGMENTER.name, version=SEGMENTER.version, task=SEGMENTER.task, weights_sha256="e" * 64
            ),
        ),
    )
    variants = [
        (report, STAMP),
        (report, replace(STAMP, run_number=2)),
        (report, replace(STAMP, inputs_digest="0" * 64)),
        (report, replace(STAMP, software_version="0.2.0")),
        (other_weights, STAMP),
    ]
    made = [encode_all(r, evidence_of(series), stamp) for r, stamp in variants]
    uids = [(o.sop_instance_uid, o.series_instance_uid) for objects in made for o in objects]
    flat = [uid for pair in uids for uid in pair]
    assert len(set(flat)) == len(flat) == 20
    assert [o.dataset.SeriesNumber for o in made[1]] == [9011, 9012]
