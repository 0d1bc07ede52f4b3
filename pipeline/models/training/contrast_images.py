"""Labelled series of real patients, and of phantoms, as the input check sees them: what `contrast_fit` is fitted on.

    python -m pipeline.models.training.contrast_images --data DATA --out IMAGES [--phantoms CASES] [--limit N]

Writes IMAGES/SOURCE__SPLIT__NAME.npz with an array for each role, the brain and the affine of their grid of 3 mm. A
study whose brain is not found (a size no brain has) is left out and named. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.brain_mask import MASK_ORDER, PLAUSIBLE_ML, best_brain_mask
from pipeline.case_files import case_folders, find_case_files
from pipeline.geometry import RigidTransform, resample
from pipeline.grids import analysis_grid
from pipeline.input_images import check_images
from pipeline.models.training.volume_cases import load_packed_case
from pipeline.models.training.volume_stacks import load_stack, stack_folders
from pipeline.nifti import load_nifti_volume
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, Grid, SeriesRole, Volume

#: Packed images are lossy: around a stripped brain, blocks of grey values below this remain where there was nothing.
_LOSSY_BELOW = 4
_Named = tuple[str, str, str]
_Volumes = dict[SeriesRole, Volume]


def studies(data: Path, phantoms: Path | None) -> Iterator[tuple[_Named, Path]]:
    """(source, split, name) and folder of every study there is."""
    for source in ("full", "partial", "flair_only", "skull_on"):
        for folder in sorted((data / "mri3d" / source).iterdir()):
            yield (source, "all", folder.name), folder
    for split in ("train", "val", "test"):
        for folder in stack_folders(data, split):
            yield ("lgg", split, folder.name), folder
    if phantoms is not None:
        for folder in case_folders(phantoms):
            yield ("phantom", "all", folder.name), folder


def read_study(source: str, folder: Path, *, cleared: bool = True) -> _Volumes:
    """The series of one study on their own grids. cleared: what lossy packing left around a brain becomes 0."""
    if source == "lgg":
        return load_stack(folder)[0]
    if source == "phantom":
        return {role: load_nifti_volume(path) for role, path in find_case_files(folder).images.items()}
    if source == "skull_on":
        parts = [(path, load_packed_case(path)) for path in sorted(folder.iterdir())]
    else:
        parts = [(folder, load_packed_case(folder))]
    found: _Volumes = {}
    for path, arrays in parts:
        affine = np.array(json.loads((path / "meta.json").read_text())["affine"], np.float64)
        if source == "flair_only":
            # The stated orientation is not the true one; see `volume_cases`.
            affine[:3, :3] = np.diag(np.linalg.norm(affine[:3, :3], axis=0) * (-1, -1, 1))
        for role in CHANNEL_ORDER:
            array = arrays.get(role.value.lower())
            if array is not None:
                clear = cleared and source != "skull_on"
                voxels = np.where(array < _LOSSY_BELOW, 0, array) if clear else array
                found[role] = Volume(voxels=voxels.astype(np.float32), grid=Grid(shape=array.shape, affine=affine))
    return found


def write_study(volumes: _Volumes, path: Path) -> str | None:
    """The study's images for the check, written to `path`; or the reason why not."""
    reference = volumes[next(role for role in REFERENCE_ORDER if role in volumes)]
    grid = analysis_grid(reference)
    brain = best_brain_mask(resample(volumes[role], grid) for role in MASK_ORDER if role in volumes)
    volume_ml = float(brain.sum()) * grid.voxel_volume_ml
    if not PLAUSIBLE_ML[0] <= volume_ml <= PLAUSIBLE_ML[1]:
        return f"the brain found measures {volume_ml:.0f} mL"
    still = dict.fromkeys(volumes, RigidTransform.identity())
    seen = check_images(volumes, still, brain, grid)
    arrays: dict[str, Any] = {role.value: image for role, image in seen.images.items()}
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, brain=seen.brain, affine=seen.grid.affine, **arrays)
    partial.replace(path)
    return None


def main() -> None:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mri3d/ and lgg_stacks/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phantoms", type=Path, help="folder of phantom cases in NIfTI (tumour-node phantom)")
    parser.add_argument("--limit", type=int, default=12, help="how many of the phantoms")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    phantoms = 0
    for (source, split, name), folder in studies(arguments.data, arguments.phantoms):
        phantoms += source == "phantom"
        path = arguments.out / f"{source}__{split}__{name}.npz"
        if path.exists() or phantoms > arguments.limit:
            continue
        reason = write_study(read_study(source, folder), path)
        print(f"{path.name}: {reason or 'written'}", flush=True)


if __name__ == "__main__":
    main()
