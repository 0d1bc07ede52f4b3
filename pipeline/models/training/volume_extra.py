"""Extra labelled cases for training: one folder a case of NIfTI named as BraTS names them, skull on or off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.brain_mask import brain_mask
from pipeline.case_files import CaseFiles, case_folders, find_case_files
from pipeline.errors import InvalidVolume, PipelineError
from pipeline.evaluation.volumes import brats_labels
from pipeline.geometry import resample
from pipeline.models.training.volume_cases import TrainingCase, ras_spacing, regions_of, to_ras, zscore
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, Grid, SeriesRole, Volume

#: A brain mask that holds less of the tumour than this taught the network to overlook it.
_TUMOUR_IN_MASK = 0.95


def load_extra_cases(folder: Path) -> list[TrainingCase]:
    """Every usable case below `folder`, of the kind 'extra'; the others are named on the terminal with their reason."""
    cases = []
    for path in case_folders(folder):
        try:
            cases.append(load_extra_case(path))
        except PipelineError as error:
            print(f"left out: {error}", flush=True)
    return cases


def load_extra_case(folder: Path) -> TrainingCase:
    """One case: its four (or fewer) series, which must lie in one position, and its BraTS labels.

    Where the skull is still on, the brain is told from it as the pipeline does, so that training sees the same
    imperfect masks.

    Raises:
        InvalidVolume: no label map, labels on another grid than the reference series, no brain found around
            the tumour, or an unreadable file.
    """
    files = find_case_files(folder)
    if files.labels is None:
        raise InvalidVolume(f"{folder.name}: no label map (a file whose name ends in _seg)")
    reference = next(role for role in REFERENCE_ORDER if role in files.images)
    volumes = _on_one_grid(files, reference)
    grid = volumes[reference].grid
    values, label_grid = load_nifti_labels(files.labels)
    if not label_grid.same_as(grid):
        raise InvalidVolume(f"{folder.name}: the label map is not on the grid of {reference.value}; resample it")
    labels = brats_labels(values)
    mask = _brain(folder, volumes, labels > 0)
    present = np.array([role in volumes for role in CHANNEL_ORDER])
    image = np.stack(
        [
            zscore(volumes[role].voxels, mask) if role in volumes else np.zeros(grid.shape, np.float16)
            for role in CHANNEL_ORDER
        ]
    )
    box = tuple(slice(int(hit.min()), int(hit.max()) + 1) for hit in np.nonzero(mask))
    regions = regions_of(labels)[(slice(None), *box)]
    contrast = bool(present[CHANNEL_ORDER.index(SeriesRole.T1CE)])
    return TrainingCase(
        name=folder.name,
        kind="extra",
        image=np.asarray(to_ras(image[(slice(None), *box)], grid.affine), dtype=np.float16),
        present=present,
        regions=np.asarray(to_ras(regions, grid.affine), dtype=np.uint8),
        known=np.array([True, contrast, contrast]),
        spacing_mm=ras_spacing(grid.affine),
    )


def _on_one_grid(files: CaseFiles, reference: SeriesRole) -> dict[SeriesRole, Volume]:
    grid: Grid = load_nifti_volume(files.images[reference]).grid
    return {role: resample(load_nifti_volume(path), grid) for role, path in files.images.items()}


def _brain(folder: Path, volumes: dict[SeriesRole, Volume], tumour: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask of the first series, best first, that holds the tumour."""
    for role in REFERENCE_ORDER:
        if role in volumes:
            mask = brain_mask(volumes[role]) > 0
            if mask.any() and (mask & tumour).sum() >= _TUMOUR_IN_MASK * tumour.sum():
                return mask
    raise InvalidVolume(f"{folder.name}: in no series does the brain found hold the tumour")
