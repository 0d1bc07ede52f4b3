"""Which NIfTI file of a folder is which series, told by its name as BraTS names files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.volume import CHANNEL_ORDER, SeriesRole

#: Last word of a file name, before .nii or .nii.gz, to the role; BraTS 2020 words, then those of BraTS 2023.
ROLE_WORDS: Mapping[str, SeriesRole] = {
    "t1": SeriesRole.T1,
    "t1w": SeriesRole.T1,
    "t1n": SeriesRole.T1,
    "t1ce": SeriesRole.T1CE,
    "t1c": SeriesRole.T1CE,
    "t1gd": SeriesRole.T1CE,
    "t2": SeriesRole.T2,
    "t2w": SeriesRole.T2,
    "flair": SeriesRole.FLAIR,
    "t2f": SeriesRole.FLAIR,
}
LABEL_WORD = "seg"

_NAME = re.compile(r"(?:^|.*[_\-. ])([a-z0-9]+)\.nii(?:\.gz)?$")


class CaseFilesAmbiguous(PipelineError):
    """Two files of one folder claim the same role, or no file has a role."""

    code = "case-files-ambiguous"


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """images: each role's file, in `CHANNEL_ORDER`. labels: the label map, where there is one."""

    images: Mapping[SeriesRole, Path]
    labels: Path | None


def find_case_files(folder: Path) -> CaseFiles:
    """The files of one case, looked for in `folder` itself, not below it.

    Raises:
        CaseFilesAmbiguous: two files for one role or two label maps, or no file that names a role.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.match(path.name.lower())
        if match is None or path.name.startswith("."):
            continue
        word = match.group(1)
        if word == LABEL_WORD or word in ROLE_WORDS:
            found.setdefault(LABEL_WORD if word == LABEL_WORD else ROLE_WORDS[word].value, []).append(path)
    for name, paths in found.items():
        if len(paths) > 1:
            listed = ", ".join(path.name for path in paths)
            raise CaseFilesAmbiguous(
                f"{folder.name}: {len(paths)} files for {name} ({listed}); leave one of them there"
            )
    images = {role: found[role.value][0] for role in CHANNEL_ORDER if role.value in found}
    if not images:
        raise CaseFilesAmbiguous(
            f"{folder.name}: no NIfTI file whose name ends in a role, such as case_t1ce.nii.gz or case-t2f.nii.gz"
        )
    labels = found.get(LABEL_WORD)
    return CaseFiles(images=images, labels=labels[0] if labels else None)


def case_folders(folder: Path) -> list[Path]:
    """The folders directly below `folder` that hold a .nii or .nii.gz file, by name; `folder` itself if it alone does.

    Raises:
        CaseFilesAmbiguous: there is none.
    """
    cases = [path for path in sorted(folder.iterdir()) if path.is_dir() and _holds_nifti(path)]
    if not cases and _holds_nifti(folder):
        cases = [folder]
    if not cases:
        raise CaseFilesAmbiguous(f"no folder with NIfTI files below {folder}; give one folder for each case")
    return cases


def _holds_nifti(folder: Path) -> bool:
    return any(path.name.lower().endswith((".nii", ".nii.gz")) for path in folder.iterdir() if path.is_file())
