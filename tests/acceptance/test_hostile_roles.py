"""A little of the hostile roles on every run; `python -m tests.acceptance.hostile_roles` is all of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.inbound.headers import read_header
from dicom_node.inbound.role_rules import said_contrast
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.study import StudyFile, read_study
from pipeline.volume import SeriesRole
from tests.acceptance.hostile_roles import KINDS, Parts, outcome, parts_of

#: Enough of the kinds for ten seconds.
TRIED = (
    "shuffled descriptions", "empty descriptions", "no word, timing or agent", "no sign of contrast, no times",
    "two T1CE", "T1 and T1CE descriptions exchanged",
)  # fmt: skip
_TELLING = (
    "SeriesDescription", "ProtocolName", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength",
    "ScanningSequence", "SequenceVariant", "SequenceName", "ContrastBolusAgent",
)  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> Parts:
    """One study of the make that records no agent, clutter included."""
    return parts_of(make_study(7001, "ge", size="small"))


@pytest.mark.parametrize("kind", TRIED)
def test_no_wrong_series_is_analysed_in_silence(parts: Parts, kind: str) -> None:
    found = outcome(KINDS[kind](parts, random.Random(1)))
    assert found.silent == ()
    assert found.right >= found.series - 2, found.wrong


def test_every_translation_is_read_by_header_alone(parts: Parts) -> None:
    for seed in range(24):
        tampered = KINDS["translated descriptions"](parts, random.Random(seed))
        for part in tampered:
            if part.role in (SeriesRole.T1, SeriesRole.T1CE):
                said = said_contrast(part.headers)
                assert said is (part.role is SeriesRole.T1CE), part.headers.description


def test_files_without_a_telling_header_are_read_by_their_images_and_flagged(tmp_path: Path) -> None:
    study = make_study(7002, "siemens", size="small", clutter=False)
    files = []
    for series in write_study(tmp_path, study):
        for path in series.paths:
            dataset = dcmread(path)
            for keyword in _TELLING:
                dataset.pop(keyword, None)
            dataset.save_as(path)
            files.append(StudyFile(path=path, header=read_header(path)))
    reading = read_study(files)
    assert {flag.code for flag in reading.flags} == {"role-uncertain"}
    assert len(reading.flags) == len(reading.series) >= 3
    told = reading.explanation()
    assert all("its image" in " ".join(one["chosen"]["reasons"]) for one in told["roles"].values())
