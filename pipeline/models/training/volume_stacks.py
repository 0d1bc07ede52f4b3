"""Axial stacks of low-grade glioma, skull on, whole tumour only, whose slice spacing nobody wrote down.

The rule for their geometry: pixels of 1.875 mm (128 across a field of 240 mm), slices that share a head's usual axial
coverage of 160 mm evenly. Rows run from the front to the back, columns from the patient's right to the left.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.models.training.volume_cases import TrainingCase, load_packed_case
from pipeline.models.training.volume_extra import masked_case
from pipeline.report import Label
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole, Volume

_FIELD_MM = 240.0
_COVERAGE_MM = 160.0
#: Slices of one patient are no thinner and no thicker than this.
_SLICE_MM = (2.0, 8.0)


def stack_folders(data: Path, split: str) -> list[Path]:
    """The stacks of one split, in a fixed order."""
    return sorted(path.parent for path in (data / "lgg_stacks" / split).glob("*/meta.json"))


def stack_grid(shape: tuple[int, int, int]) -> Grid:
    """The grid that the rule gives a stack of this shape."""
    rows, columns, slices = shape
    between = float(np.clip(_COVERAGE_MM / slices, *_SLICE_MM))
    affine = np.zeros((4, 4))
    affine[0, 1], affine[1, 0], affine[2, 2], affine[3, 3] = -_FIELD_MM / columns, -_FIELD_MM / rows, between, 1.0
    return Grid(shape=shape, affine=affine)


def load_stack(folder: Path) -> tuple[dict[SeriesRole, Volume], NDArray[np.bool_]]:
    """(series by role, whole tumour) of one stack, on `stack_grid`."""
    rows, columns, slices = json.loads((folder / "meta.json").read_text())["shape"]
    arrays = load_packed_case(folder)
    grid = stack_grid((rows, columns, slices))
    volumes = {
        role: Volume(voxels=arrays[role.value.lower()].astype(np.float32), grid=grid)
        for role in CHANNEL_ORDER
        if role.value.lower() in arrays
    }
    return volumes, arrays["wt"] > 0


def load_stack_cases(data: Path) -> list[TrainingCase]:
    """Every training stack of DATA whose brain is found around its tumour; none where DATA has no stacks."""
    cases = []
    for folder in stack_folders(data, "train"):
        volumes, tumour = load_stack(folder)
        labels = np.where(tumour, np.uint8(Label.ED), np.uint8(0))
        try:
            cases.append(masked_case(folder.name, "stack", volumes, labels, core_known=False))
        except PipelineError as error:
            print(f"left out: {error}", flush=True)
    return cases
