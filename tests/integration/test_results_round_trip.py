"""From DICOM files through the conversion and back into a SEG: the same voxel on the same slice of the same file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.inbound.conversion import ConvertedSeries, load_series
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.results.encoders import encode_all
from dicom_node.results.evidence import Evidence, SliceSource, load_evidence
from pipeline.report import Label
from pipeline.volume import SeriesRole
from tests.report_builders import STAMP, full_report, written

CASES = [("ge", False), ("philips", True)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'enhanced' if case[1] else 'classic'}")
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[ConvertedSeries]:
    """Sagittal T1, axial T1CE and oblique FLAIR of a small phantom, converted from its files."""
    vendor, enhanced = request.param
    roles = (SeriesRole.T1CE, SeriesRole.T1, SeriesRole.FLAIR)
    study = make_study(5, vendor, size="small", clutter=False, enhanced=enhanced, roles=roles)
    folder = tmp_path_factory.mktemp("study")
    return [load_series(series.paths) for series in write_study(folder, study)]


def evidence_of(series: ConvertedSeries) -> Evidence:
    slices = [SliceSource(sop_instance_uid=s.sop_instance_uid, frame_number=s.frame_number) for s in series.sources]
    return load_evidence(sorted({s.path for s in series.sources}), slices, series.volume.grid)


def test_every_voxel_comes_back_on_its_slice_and_at_its_place(
    converted: list[ConvertedSeries], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    for series in converted:
        grid = series.volume.grid
        values = np.array([0, Label.NCR, Label.ED, Label.ET], np.uint8)
        labels = np.random.default_rng(7).choice(values, grid.shape, p=[0.97, 0.01, 0.01, 0.01])
        objects = encode_all(full_report(grid, labels), evidence_of(series), STAMP)
        for result in objects:
            path = written(result.to_bytes(), tmp_path, f"{result.kind}.dcm")
            said = subprocess.run([debian_tool("dciodvfy"), path], capture_output=True, text=True, check=False).stderr
            assert [line for line in said.splitlines() if line.startswith("Error")] == []
        seg = highdicom.seg.Segmentation.from_dataset(dcmread(BytesIO(objects[0].to_bytes())))

        by_slice = np.zeros_like(labels)
        index_of = {(s.sop_instance_uid, s.frame_number): k for k, s in enumerate(series.sources)}
        for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
            source = frame.DerivationImageSequence[0].SourceImageSequence[0]
            number = source.get("ReferencedFrameNumber")
            k = index_of[str(source.ReferencedSOPInstanceUID), None if number is None else int(number)]
            segment = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            by_slice[:, :, k][pixels.T > 0] = values[segment]
        assert np.array_equal(by_slice, labels)

        volume = seg.get_volume(combine_segments=True)
        places = np.argwhere(volume.array)
        to_voxel = np.linalg.inv(grid.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        exact = places @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        voxels = np.round(exact).astype(int)
        assert np.abs(exact - voxels).max() < 0.05
        by_place = np.zeros_like(labels)
        by_place[tuple(voxels.T)] = values[volume.array[tuple(places.T)]]
        assert np.array_equal(by_place, labels)
