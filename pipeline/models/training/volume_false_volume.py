"""Tumour found where there is none: heads without a tumour through the node's own analysis.

`python -m pipeline.models.training.volume_false_volume --data DIR --heads PHANTOMS --models models`

The heads: phantoms made without a lesion, multiple sclerosis without a tumour (which training saw), two visits of a
patient with the skull on (which it did not), and the healthy hemispheres of the validation cases, reflected.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.case_files import case_folders, find_case_files
from pipeline.errors import PipelineError
from pipeline.models.protocols import Segmenter
from pipeline.models.training.volume_cases import VALIDATION_CASES, TrainingCase, load_packed_case, load_training_case
from pipeline.models.training.volume_mirror import mirrored_cases
from pipeline.models.training.volume_prepared import segmented
from pipeline.models.training.volume_scores import load_registered
from pipeline.nifti import load_nifti_volume
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole, Volume

Head = tuple[str, str, Mapping[SeriesRole, Volume]]
SEEN = "seen in training"
UNSEEN = "never seen"


def phantom_heads(folder: Path) -> Iterator[Head]:
    """Every NIfTI case below `folder`: (name, whether training saw it, series by role)."""
    for path in case_folders(folder):
        files = find_case_files(path)
        yield path.name, UNSEEN, {role: load_nifti_volume(image) for role, image in files.images.items()}


def real_heads(data: Path) -> Iterator[Head]:
    """The tumour-free heads of a data folder, with the mirrored brains of the validation cases."""
    for folder in sorted((data / "mri3d" / "partial").glob("NEG_*")):
        yield folder.name, SEEN, _packed(folder)
    for folder in sorted((data / "mri3d" / "skull_on").glob("NEG_*")):
        series = [_packed(part.parent) for part in sorted(folder.glob("*/meta.json"))]
        yield folder.name, UNSEEN, {role: volume for one in series for role, volume in one.items()}
    held_out = [load_training_case(data / "mri3d" / "full" / name) for name in VALIDATION_CASES]
    for case in mirrored_cases([case for case in held_out if case is not None], seed=1):
        yield case.name, UNSEEN, _as_volumes(case)


def false_volume_ml(volumes: Mapping[SeriesRole, Volume], segmenter: Segmenter, kept: Path | None = None) -> float:
    """mL of tumour that the node would find. kept, and what it raises: see `volume_prepared.segmented`."""
    answer = segmented(volumes, segmenter, kept)
    return float((answer.labels > 0).sum() * answer.grid.voxel_volume_ml)


def score_heads(heads: Iterator[Head], segmenter: Segmenter, kept: Path | None = None) -> dict[str, Any]:
    """Each head's false volume and the share of clean ones, by whether training saw them. JSON-ready."""
    rows: list[dict[str, Any]] = []
    for name, seen, volumes in heads:
        row: dict[str, Any] = {"case": name, "seen": seen, "roles": [role.value for role in volumes]}
        try:
            row["false_volume_ml"] = round(false_volume_ml(volumes, segmenter, kept), 3)
        except PipelineError as error:
            row |= {"false_volume_ml": None, "not_scored": str(error)}
        rows.append(row)
    clean = {
        word: [row["false_volume_ml"] == 0 for row in rows if row["seen"] == word and "not_scored" not in row]
        for word in (UNSEEN, SEEN)
    }
    counts = {word: {"heads": len(found), "clean": int(np.sum(found))} for word, found in clean.items()}
    return {"kind": "tumour-free heads", "cases": rows, "clean": counts}


def _packed(folder: Path) -> dict[SeriesRole, Volume]:
    affine = np.array(json.loads((folder / "meta.json").read_text())["affine"], dtype=np.float64)
    arrays = load_packed_case(folder)
    volumes = {}
    for role in CHANNEL_ORDER:
        if (array := arrays.get(role.value.lower())) is not None:
            i, j, k = array.shape
            volumes[role] = Volume(voxels=array.astype(np.float32), grid=Grid(shape=(i, j, k), affine=affine))
    return volumes


def _as_volumes(case: TrainingCase) -> dict[SeriesRole, Volume]:
    """The brain of a case with positive intensities and zeros around it, as a stripped series has them."""
    i, j, k = case.regions.shape[1:]
    grid = Grid(shape=(i, j, k), affine=np.diag([*case.spacing_mm, 1.0]))
    body = np.any(case.image != 0, axis=0)
    return {
        role: Volume(voxels=np.where(body, np.clip(100 + 20 * image.astype(np.float32), 1, None), 0), grid=grid)
        for role, image in zip(CHANNEL_ORDER, case.image, strict=True)
    }


def main(words: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with mri3d/")
    parser.add_argument("--heads", help="folder of NIfTI cases without a tumour that training did not see")
    parser.add_argument("--models", default="models")
    parser.add_argument("--name", default="BraTS2020_nnU_Net_Segmentation", help="the segmenter's name in the manifest")
    parser.add_argument("--prepared", type=Path, help="folder that keeps the prepared studies")
    arguments = parser.parse_args(words)
    segmenter = load_registered(Path(arguments.models), arguments.name)
    heads = all_heads(arguments.data, arguments.heads)
    print(json.dumps(score_heads(heads, segmenter, arguments.prepared), indent=1))


def all_heads(data: str | Path | None, heads: str | Path | None) -> Iterator[Head]:
    """The heads of both folders, of those that are named."""
    if heads:
        yield from phantom_heads(Path(heads))
    if data:
        yield from real_heads(Path(data))


if __name__ == "__main__":
    main()
