from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_node.results.evidence import (
    EvidenceMismatch,
    ReferenceSeries,
    SliceSource,
    load_evidence,
    ras_to_lps,
    slice_geometry,
)
from pipeline.volume import Grid
from tests.mr_series import mr_series, oblique
from tests.report_builders import evidence_of


def test_headers_are_put_in_the_order_of_the_slices(tmp_path: Path) -> None:
    series = mr_series(orientation=oblique())
    paths = series.write(tmp_path)
    slices = [SliceSource(sop_instance_uid=str(d.SOPInstanceUID)) for d in series.datasets]
    evidence = load_evidence([*reversed(paths)], slices, series.grid)
    assert [d.SOPInstanceUID for d in evidence.reference.datasets] == [s.sop_instance_uid for s in slices]
    assert "PixelData" not in evidence.reference.first
    assert evidence.reference.study_instance_uid == series.datasets[0].StudyInstanceUID


def test_a_multi_frame_image_is_read_once(tmp_path: Path) -> None:
    series = mr_series(enhanced=True)
    reference = load_evidence(series.write(tmp_path), evidence_of(series).reference.slices, series.grid).reference
    assert len(reference.datasets) == 1
    assert [s.frame_number for s in reference.slices] == [5, 4, 3, 2, 1]
    assert slice_geometry(reference, 0)[0].tolist() == [-11.25, 8.5, -20.75]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    series = mr_series()
    paths = series.write(tmp_path)
    with pytest.raises(EvidenceMismatch, match=str(series.datasets[2].SOPInstanceUID)):
        load_evidence([p for n, p in enumerate(paths) if n != 2], evidence_of(series).reference.slices, series.grid)


def test_slices_in_another_order_are_refused() -> None:
    series = mr_series()
    with pytest.raises(EvidenceMismatch, match="elsewhere"):
        evidence_of(replace(series, datasets=series.datasets[::-1]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "elsewhere|orientation"),
        (np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2.0], [0, 0, 0, 1]]), "elsewhere"),
    ],
    ids=["mirrored", "shifted by most of a slice"],
)
def test_a_grid_that_the_slices_do_not_lie_on_is_refused(change: np.ndarray, reason: str) -> None:
    series = mr_series()
    moved = Grid(shape=series.grid.shape, affine=change @ series.grid.affine)
    with pytest.raises(EvidenceMismatch, match=reason):
        evidence_of(replace(series, grid=moved))


def test_another_number_or_size_of_slices_is_refused() -> None:
    series = mr_series()
    slices = evidence_of(series).reference.slices
    with pytest.raises(EvidenceMismatch, match="5 slices for 4"):
        ReferenceSeries(datasets=series.datasets, slices=slices, grid=Grid(shape=(7, 6, 4), affine=series.grid.affine))
    with pytest.raises(EvidenceMismatch, match="rows and columns"):
        ReferenceSeries(datasets=series.datasets, slices=slices, grid=Grid(shape=(6, 7, 5), affine=series.grid.affine))


def test_a_series_without_frame_of_reference_is_refused() -> None:
    series = mr_series()
    del series.datasets[0].FrameOfReferenceUID
    with pytest.raises(EvidenceMismatch, match="Frame of Reference"):
        evidence_of(series)


def test_ras_to_lps_turns_x_and_y() -> None:
    assert ras_to_lps([(1, 2, 3), (-4, 5, -6)]).tolist() == [[-1, -2, 3], [4, -5, -6]]
