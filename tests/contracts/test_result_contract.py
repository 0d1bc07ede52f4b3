"""What every result encoder keeps to. A new encoder is tested by being in `ENCODERS`; nothing is to be added here."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import ENCODERS, ResultEncoder
from dicom_node.results.lint import lint
from pipeline.report import Report
from pipeline.volume import Grid
from tests.mr_series import MrSeries, mr_series, oblique
from tests.report_builders import (
    STAMP,
    evidence_of,
    full_report,
    report_without_models,
    report_without_tumour,
    written,
)

#: Newer than Debian's dciodvfy of 2022, which then finds no information object to check by.
UNKNOWN_TO_DCIODVFY = {"LABELMAP"}

REPORTS = {"full": full_report, "no tumour": report_without_tumour, "no models": report_without_models}
SOURCES = {"classic": mr_series(orientation=oblique()), "enhanced": mr_series(orientation=oblique(), enhanced=True)}


def made_by(encoder: ResultEncoder, report: Callable[[Grid], Report], series: MrSeries) -> EncodedObject | None:
    """What the encoder makes after those before it in the list."""
    previous: list[EncodedObject] = []
    for earlier in ENCODERS[: ENCODERS.index(encoder)]:
        result = earlier.encode(report(series.grid), evidence_of(series), STAMP, tuple(previous))
        previous += [] if result is None else [result]
    return encoder.encode(report(series.grid), evidence_of(series), STAMP, tuple(previous))


@pytest.fixture(params=ENCODERS, ids=lambda encoder: encoder.kind)
def encoder(request: pytest.FixtureRequest) -> ResultEncoder:
    return request.param


@pytest.fixture(params=SOURCES.values(), ids=SOURCES)
def series(request: pytest.FixtureRequest) -> MrSeries:
    return request.param


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_every_report_gives_a_sound_object_or_none(
    encoder: ResultEncoder,
    report: Callable[[Grid], Report],
    series: MrSeries,
    tmp_path: Path,
    debian_tool: Callable[[str], str],
) -> None:
    result = made_by(encoder, report, series)
    if result is None:
        return
    assert (result.kind, result.sop_class_uid) == (encoder.kind, encoder.sop_class_uid)
    data = result.to_bytes()
    assert lint(dcmread(BytesIO(data)), evidence_of(series)) == ()
    if encoder.kind in UNKNOWN_TO_DCIODVFY:
        return
    path = written(data, tmp_path, "result.dcm")
    said = subprocess.run([debian_tool("dciodvfy"), str(path)], capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_the_full_report_gives_an_object(encoder: ResultEncoder, series: MrSeries) -> None:
    assert made_by(encoder, full_report, series) is not None


def test_the_same_run_gives_the_same_bytes(encoder: ResultEncoder, series: MrSeries) -> None:
    first, second = (made_by(encoder, full_report, series) for _ in range(2))
    assert first is not None
    assert second is not None
    # Digests: a failure should not print two files.
    assert hashlib.sha256(first.to_bytes()).hexdigest() == hashlib.sha256(second.to_bytes()).hexdigest()


def test_kinds_series_and_numbers_are_each_encoders_own() -> None:
    results = [made_by(encoder, full_report, SOURCES["classic"]) for encoder in ENCODERS]
    objects = [result.dataset for result in results if result is not None]
    assert len({encoder.kind for encoder in ENCODERS}) == len(ENCODERS)
    assert len({str(o.SeriesInstanceUID) for o in objects}) == len(objects)
    assert len({int(o.SeriesNumber) for o in objects}) == len(objects)
