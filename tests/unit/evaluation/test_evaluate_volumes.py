from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.case_files import CaseFilesAmbiguous
from pipeline.errors import InvalidVolume
from pipeline.evaluation.volumes import brats_labels, evaluate_volumes
from pipeline.evaluation.volumes_table import render_volumes_table
from pipeline.report import ModelIdentity, Segmentation, SkipCode, Skipped, Stage
from pipeline.volume import Grid, SeriesRole, Volume

MODEL = ModelIdentity(name="test", version="1", task="segmentation", weights_sha256="0" * 64)
SHAPE = (12, 10, 8)


def _labels(with_enhancement: bool = True) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:8, 2:8, 2:6] = 2
    labels[3:6, 3:6, 3:5] = 1
    if with_enhancement:
        labels[4, 4, 3:5] = 4
    return labels


def _write_case(folder: Path, labels: np.ndarray | None, affine: np.ndarray | None = None) -> None:
    folder.mkdir(parents=True)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine
    for word in ("t1", "t1ce", "t2", "flair"):
        nib.save(nib.Nifti1Image(np.ones(SHAPE, np.int16), affine), folder / f"{folder.name}_{word}.nii.gz")
    if labels is not None:
        nib.save(nib.Nifti1Image(labels, affine), folder / f"{folder.name}_seg.nii.gz")


def _answering(labels: np.ndarray):
    def segment(volumes: Mapping[SeriesRole, Volume]) -> Segmentation:
        return Segmentation(labels=labels, grid=volumes[SeriesRole.T1CE].grid, model=MODEL)

    return segment


def _skipping(code: SkipCode):
    return lambda volumes: Skipped(stage=Stage.SEGMENT, code=code, reason="said the test")


def test_perfect_answer_scores_one_everywhere(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", _labels())
    seen: list[float] = []
    result = evaluate_volumes(tmp_path, _answering(_labels()), seen.append)
    for region in ("WT", "TC", "ET"):
        score = result["cases"][0]["regions"][region]
        assert (score["dice"], score["hd95_mm"], score["volume_error_ml"]) == (1.0, 0.0, 0.0)
        assert result["mean"][region]["dice"] == 1.0
    assert result["cases"][0]["regions"]["WT"]["truth_volume_ml"] == pytest.approx(6 * 6 * 4 * 2 / 1000)
    assert seen == [1.0]
    json.dumps(result)


def test_answer_on_another_grid_is_brought_to_the_truth(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", _labels())

    def segment(volumes: Mapping[SeriesRole, Volume]) -> Segmentation:
        own = volumes[SeriesRole.T1CE].grid
        flipped = own.affine @ np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        return Segmentation(labels=_labels()[::-1], grid=Grid(shape=SHAPE, affine=flipped), model=MODEL)

    assert evaluate_volumes(tmp_path, segment)["mean"]["ET"]["dice"] == 1.0


def test_case_without_enhancement_reports_false_volume(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", _labels())
    _write_case(tmp_path / "b", _labels(with_enhancement=False))
    result = evaluate_volumes(tmp_path, _answering(_labels()))
    mean = result["mean"]["ET"]
    assert (mean["cases"], mean["dice"], mean["cases_without"]) == (1, 1.0, 1)
    assert mean["false_volume_ml"] == pytest.approx(2 * 2 / 1000)
    assert result["cases"][1]["regions"]["ET"]["dice"] is None


def test_finding_nothing_is_an_empty_answer_and_a_missing_role_is_none(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", _labels())
    empty = evaluate_volumes(tmp_path, _skipping(SkipCode.NO_TUMOUR_DETECTED))
    assert empty["mean"]["WT"]["dice"] == 0.0
    assert empty["mean"]["WT"]["hd95_undefined"] == 1
    skipped = evaluate_volumes(tmp_path, _skipping(SkipCode.ROLE_MISSING))
    assert skipped["cases"][0]["not_scored"] == "said the test"
    assert skipped["mean"]["WT"]["cases"] == 0


def test_a_broken_case_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", None)
    _write_case(tmp_path / "b", _labels())
    _write_case(tmp_path / "c", _labels())
    (tmp_path / "c" / "c_t2.nii.gz").write_bytes(b"not a volume")
    result = evaluate_volumes(tmp_path, _answering(_labels()))
    assert [row["not_scored"] is None for row in result["cases"]] == [False, True, False]
    assert "no label map" in result["cases"][0]["not_scored"]
    assert "c_t2.nii.gz" in result["cases"][2]["not_scored"]
    assert result["mean"]["WT"]["cases"] == 1


def test_folder_without_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseFilesAmbiguous, match="no folder with NIfTI"):
        evaluate_volumes(tmp_path, _answering(_labels()))


@pytest.mark.parametrize(
    ("given", "expected"),
    [([0, 1, 2, 4], [0, 1, 2, 4]), ([0, 1, 2, 3], [0, 1, 2, 4]), ([0, 1, 2, 3, 4], [0, 1, 2, 1, 4]), ([0, 0], [0, 0])],
)
def test_labels_of_every_edition(given: list[int], expected: list[int]) -> None:
    assert brats_labels(np.array(given)).tolist() == expected


def test_unknown_label_is_refused() -> None:
    with pytest.raises(InvalidVolume, match="found"):
        brats_labels(np.array([0, 7]))


def test_table_has_a_line_for_each_region_and_the_notes(tmp_path: Path) -> None:
    _write_case(tmp_path / "a", _labels(with_enhancement=False))
    _write_case(tmp_path / "b", None)
    table = render_volumes_table(evaluate_volumes(tmp_path, _answering(_labels())))
    assert table.splitlines()[0].split()[:3] == ["case", "region", "Dice"]
    assert "b: not scored: no label map" in table
    assert "ET: 1 cases without it, mean false volume 0.00 mL" in table
    assert len([line for line in table.splitlines() if line.startswith("a ")]) == 3
