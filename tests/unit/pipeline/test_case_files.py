from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.case_files import CaseFilesAmbiguous, case_folders, find_case_files
from pipeline.volume import CHANNEL_ORDER, SeriesRole


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("p_t1.nii.gz", "p_t1ce.nii.gz", "p_t2.nii.gz", "p_flair.nii.gz", "p_seg.nii.gz"),
        ("p-t1n.nii.gz", "p-t1c.nii.gz", "p-t2w.nii.gz", "p-t2f.nii.gz", "p-seg.nii.gz"),
        ("t1.nii", "T1CE.nii", "t2.nii", "Flair.nii", "seg.nii"),
    ],
)
def test_names_of_every_edition(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = find_case_files(_touch(tmp_path, *names, "notes.txt", ".hidden_t1.nii"))
    assert list(files.images) == list(CHANNEL_ORDER)
    assert [files.images[role].name for role in CHANNEL_ORDER] == list(names[:4])
    assert files.labels is not None
    assert files.labels.name == names[4]


def test_other_words_are_not_roles(tmp_path: Path) -> None:
    files = find_case_files(_touch(tmp_path, "x_t1ce.nii.gz", "x_t1ce_mask.nii.gz", "best1.nii.gz"))
    assert dict(files.images) == {SeriesRole.T1CE: tmp_path / "x_t1ce.nii.gz"}
    assert files.labels is None


@pytest.mark.parametrize("second", ["a_t1c.nii.gz", "a_t1ce.nii", "b_t1ce.nii.gz"])
def test_two_files_for_one_role_are_ambiguous(tmp_path: Path, second: str) -> None:
    with pytest.raises(CaseFilesAmbiguous, match="2 files for T1CE"):
        find_case_files(_touch(tmp_path, "a_t1ce.nii.gz", second))


def test_folder_without_a_role_says_what_names_look_like(tmp_path: Path) -> None:
    with pytest.raises(CaseFilesAmbiguous, match=r"case_t1ce\.nii\.gz"):
        find_case_files(_touch(tmp_path, "scan.nii.gz"))


def test_case_folders_are_sorted_and_hold_nifti(tmp_path: Path) -> None:
    _touch(tmp_path / "b", "b_t1.nii.gz")
    _touch(tmp_path / "a", "a_t1.nii")
    _touch(tmp_path / "empty")
    assert [path.name for path in case_folders(tmp_path)] == ["a", "b"]
    assert case_folders(tmp_path / "a") == [tmp_path / "a"]
