"""What other people's programs say of our objects: dciodvfy finds no error, dcmqi and highdicom read them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import encode_all
from pipeline.report import Report
from pipeline.volume import Grid
from tests.mr_series import AXIAL, SAGITTAL, MrSeries, mr_series, oblique
from tests.report_builders import (
    PAINTED,
    STAMP,
    evidence_of,
    full_report,
    report_without_models,
    report_without_tumour,
    written,
)

REPORTS: dict[str, Callable[[Grid], Report]] = {
    "full": full_report,
    "no tumour": report_without_tumour,
    "no models": report_without_models,
}


def objects(series: MrSeries, report: Report) -> tuple[EncodedObject, ...]:
    return encode_all(report, evidence_of(series), STAMP)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_dciodvfy_finds_no_error(
    report: Callable[[Grid], Report], enhanced: bool, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    series = mr_series(orientation=oblique(), enhanced=enhanced)
    made = objects(series, report(series.grid))
    assert made
    for result in made:
        path = written(result.to_bytes(), tmp_path, f"{result.kind}.dcm")
        said = subprocess.run([debian_tool("dciodvfy"), str(path)], capture_output=True, text=True, check=False).stderr
        assert said.splitlines()[0] in ("Segmentation", "Comprehensive3DSR")
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def dcmqi(program: str) -> str:
    """dcmqi's programs are installed beside the interpreter."""
    return str(Path(sys.executable).parent / program)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, oblique()], ids=["axial", "sagittal", "oblique"])
def test_dcmqi_finds_every_painted_voxel_where_it_was_painted(orientation: tuple[float, ...], tmp_path: Path) -> None:
    series = mr_series(orientation=orientation)
    seg, _ = objects(series, full_report(series.grid))
    path = written(seg.to_bytes(), tmp_path, "seg.dcm")
    subprocess.run(
        [
            dcmqi("segimage2itkimage"),
            "--inputDICOM",
            path,
            "--outputDirectory",
            tmp_path,
            "-t",
            "nii",
            "--mergeSegments",
        ],
        check=True,
        capture_output=True,
    )
    (made,) = tmp_path.glob("*.nii.gz")
    image = nibabel.load(made)
    voxels = np.asarray(image.dataobj)
    numbers = dict(zip(PAINTED, (1, 2, 3), strict=True))
    found = {
        (int(voxels[tuple(index)]), *np.round((image.affine @ (*index, 1))[:3], 2)) for index in np.argwhere(voxels)
    }
    expected = {
        (numbers[label], *np.round((series.grid.affine @ (*voxel, 1))[:3], 2))
        for label, painted in PAINTED.items()
        for voxel in painted
    }
    assert found == expected


def test_dcmqi_reads_the_measurements_of_each_segment(tmp_path: Path) -> None:
    series = mr_series()
    seg, sr = objects(series, full_report(series.grid))
    path, out = written(sr.to_bytes(), tmp_path, "sr.dcm"), tmp_path / "out.json"
    subprocess.run(
        [dcmqi("tid1500reader"), "--inputDICOM", path, "--outputMetadata", out], check=True, capture_output=True
    )
    groups = json.loads(out.read_text())["Measurements"]
    by_segment = {g["ReferencedSegment"]: g for g in groups if g.get("segmentationSOPInstanceUID")}
    assert set(by_segment) == {1, 2, 3}
    volume = by_segment[3]["measurementItems"][0]
    assert float(volume["value"]) == 1.25
    assert volume["units"]["CodeValue"] == "mL"
    assert by_segment[1]["segmentationSOPInstanceUID"] == seg.sop_instance_uid
