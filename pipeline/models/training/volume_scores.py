"""The figures of a registered segmenter on the validation cases, through the same analysis that the node runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import ModelUnusable
from pipeline.evaluation.volumes import evaluate_volumes
from pipeline.geometry import resample_array
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import Segmenter
from pipeline.models.training.volume_calibration import CaseVoxels
from pipeline.models.training.volume_cases import VALIDATION_CASES, load_packed_case, regions_of
from pipeline.models.training.volume_prepared import prepared_study, segmented
from pipeline.models.unet3d import load_torch_segmenter
from pipeline.nifti import save_volume
from pipeline.report import Segmentation
from pipeline.stages import region_probabilities
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole, Volume

#: Voxels around a tumour, told or found, that count as near it.
_NEAR_VOXELS = 5


def write_as_nifti(folder: Path, out: Path) -> None:
    """A packed case as NIfTI on its own 1 mm grid, named as BraTS names files, in OUT/<case>/."""
    affine = np.array(json.loads((folder / "meta.json").read_text())["affine"], dtype=np.float64)
    target = out / folder.name
    target.mkdir(parents=True)
    for word, array in load_packed_case(folder).items():
        i, j, k = array.shape
        volume = Volume(voxels=array.astype(np.float32), grid=Grid(shape=(i, j, k), affine=affine))
        save_volume(target / f"{folder.name}_{word}.nii", volume)


def load_registered(models: Path, name: str) -> Segmenter:
    """The segmenter that MODELS/manifest.json calls `name`.

    Raises:
        ModelUnusable: the manifest has no such model, or it does not load.
    """
    entries = [entry for entry in read_manifest(models) if entry.get("name") == name]
    if not entries:
        raise ModelUnusable(name, "the manifest does not name it", "Register it first")
    return load_torch_segmenter(ManifestEntry.from_json(entries[0]), models)


def validation_voxels(segmenter: Segmenter, data: Path, kept: Path | None = None) -> list[CaseVoxels]:
    """What the segmenter says of every brain voxel of the validation cases, on the grid that it works on."""
    found = []
    for name in VALIDATION_CASES:
        folder = data / "mri3d" / "full" / name
        volumes, labels = _as_volumes(folder)
        study = prepared_study(volumes, kept)
        probabilities, grid = region_probabilities(segmenter, study, lambda share: None)
        brain = study.channels(segmenter.spacing_mm)[0].any(axis=0)
        onto = volumes[SeriesRole.T1].grid
        truth = np.stack([resample_array(region.astype(np.float32), onto, grid) > 0.5 for region in regions_of(labels)])
        near = ndimage.binary_dilation(truth[0] | (probabilities[0] > 0.05), iterations=_NEAR_VOXELS)
        found.append(
            CaseVoxels(name=name, probabilities=probabilities[:, brain], truth=truth[:, brain], near=near[brain])
        )
    return found


def _as_volumes(folder: Path) -> tuple[dict[SeriesRole, Volume], NDArray[np.uint8]]:
    """The four series of a packed case on its own grid, and its labels."""
    affine = np.array(json.loads((folder / "meta.json").read_text())["affine"], dtype=np.float64)
    arrays = load_packed_case(folder)
    i, j, k = arrays["seg"].shape
    grid = Grid(shape=(i, j, k), affine=affine)
    volumes = {role: Volume(voxels=arrays[role.value.lower()].astype(np.float32), grid=grid) for role in CHANNEL_ORDER}
    return volumes, arrays["seg"]


def score_validation_cases(segmenter: Segmenter, data: Path, kept: Path | None = None) -> dict[str, Any]:
    """What `evaluate_volumes` gives for the validation cases of DATA. kept: see `volume_prepared.segmented`."""

    def segment(volumes: Mapping[SeriesRole, Volume]) -> Segmentation:
        return segmented(volumes, segmenter, kept)

    with TemporaryDirectory() as folder:
        for case in VALIDATION_CASES:
            write_as_nifti(data / "mri3d" / "full" / case, Path(folder))
        return evaluate_volumes(Path(folder), segment)
