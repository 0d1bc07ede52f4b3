"""The figures of a registered segmenter on the validation cases, through the same analysis that the node runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.analysis import analyse
from pipeline.errors import ModelUnusable
from pipeline.evaluation.volumes import evaluate_volumes
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import Models
from pipeline.models.training.volume_cases import VALIDATION_CASES, load_packed_case
from pipeline.models.unet3d import load_torch_segmenter
from pipeline.nifti import save_volume
from pipeline.report import Segmentation, Skipped
from pipeline.volume import Grid, SeriesRole, Volume


def write_as_nifti(folder: Path, out: Path) -> None:
    """A packed case as NIfTI on its own 1 mm grid, named as BraTS names files, in OUT/<case>/."""
    affine = np.array(json.loads((folder / "meta.json").read_text())["affine"], dtype=np.float64)
    target = out / folder.name
    target.mkdir(parents=True)
    for word, array in load_packed_case(folder).items():
        i, j, k = array.shape
        volume = Volume(voxels=array.astype(np.float32), grid=Grid(shape=(i, j, k), affine=affine))
        save_volume(target / f"{folder.name}_{word}.nii", volume)


def score_validation_cases(models: Path, name: str, data: Path) -> dict[str, Any]:
    """What `evaluate_volumes` gives for the validation cases of DATA and the registered model `name`.

    Detection is left out, so that the figures are the segmenter's own.

    Raises:
        ModelUnusable: the manifest has no such model, or it does not load.
    """
    entries = [entry for entry in read_manifest(models) if entry.get("name") == name]
    if not entries:
        raise ModelUnusable(name, "the manifest does not name it", "Register it first")
    segmenter = load_torch_segmenter(ManifestEntry.from_json(entries[0]), models)
    alone = Models(detector=None, type_classifier=None, segmenter=segmenter, unavailable={})

    def segment(volumes: Mapping[SeriesRole, Volume]) -> Segmentation | Skipped:
        return analyse(volumes, alone).segmentation

    with TemporaryDirectory() as folder:
        for case in VALIDATION_CASES:
            write_as_nifti(data / "mri3d" / "full" / case, Path(folder))
        return evaluate_volumes(Path(folder), segment)
