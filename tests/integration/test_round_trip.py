"""Painted voxel in, same voxel out: from DICOM files through conversion to the SEG file and back, exactly.

One pixel of the source series is made the brightest. It is found in the converted volume, given a label there, encoded,
and looked for in the SEG by its raw frames: same row and column, and the frame refers to the very image painted.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.series_roles import RoleAssignment
from dicom_node.results.encoders import encode_all
from dicom_node.study import StudyReading, evidence_from_record, evidence_record
from pipeline.volume import SeriesRole
from tests.mr_series import AXIAL, SAGITTAL, mr_series, oblique
from tests.report_builders import STAMP, full_report

BRIGHT = 4000
ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "oblique": oblique()}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("painted", [(0, 0, 0), (2, 5, 3), (6, 1, 4)], ids=str)
def test_the_painted_pixel_comes_back_in_the_same_place(
    orientation: str, enhanced: bool, painted: tuple[int, int, int], tmp_path: Path
) -> None:
    column, row, k = painted
    series = mr_series(orientation=ORIENTATIONS[orientation], enhanced=enhanced)
    source, frame = _paint(series.datasets, column, row, k, enhanced)
    paths = series.write(tmp_path / "series")

    converted = load_series(paths)
    voxel = np.unravel_index(int(converted.volume.voxels.argmax()), converted.volume.voxels.shape)
    labels = np.zeros(converted.volume.grid.shape, np.uint8)
    labels[voxel] = 4

    reading = StudyReading(
        study_instance_uid=str(series.datasets[0].StudyInstanceUID),
        assignment=RoleAssignment(choices={}),
        series={SeriesRole.T1CE: converted},
        sop_classes={converted.series_instance_uid: str(series.datasets[0].SOPClassUID)},
    )
    record = evidence_record(reading, SeriesRole.T1CE, tmp_path)
    evidence = evidence_from_record(record, tmp_path)
    encoded = encode_all(full_report(converted.volume.grid, labels), evidence, STAMP)
    seg = dcmread(BytesIO(next(e for e in encoded if e.kind == "SEG").to_bytes()))

    hits = np.argwhere(np.atleast_3d(seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)))
    assert hits.tolist() == [[hits[0][0], row, column]]
    derivation = seg.PerFrameFunctionalGroupsSequence[int(hits[0][0])].DerivationImageSequence[0].SourceImageSequence[0]
    assert derivation.ReferencedSOPInstanceUID == source
    assert derivation.get("ReferencedFrameNumber") == frame
    assert seg.FrameOfReferenceUID == series.datasets[0].FrameOfReferenceUID


def _paint(datasets: tuple[Dataset, ...], column: int, row: int, k: int, enhanced: bool) -> tuple[str, int | None]:
    """Make one pixel the brightest; its instance and, for enhanced, its frame number (frames are stored last first)."""
    dataset = datasets[0] if enhanced else datasets[k]
    pixels = dataset.pixel_array.copy()
    if enhanced:
        frame = len(pixels) - k
        pixels[frame - 1, row, column] = BRIGHT
    else:
        frame = None
        pixels[row, column] = BRIGHT
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return str(dataset.SOPInstanceUID), frame
