"""Whole tumour on the glioma stacks of one split, through the node's own analysis.

`python -m pipeline.models.training.volume_stack_scores --data DIR --models models --split val`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.evaluation.segmentation_metrics import score_region
from pipeline.models.protocols import Segmenter
from pipeline.models.training.volume_prepared import segmented
from pipeline.models.training.volume_scores import load_registered
from pipeline.models.training.volume_stacks import load_stack, stack_folders


def score_stack(folder: Path, segmenter: Segmenter, kept: Path | None = None) -> dict[str, Any]:
    """WT of one patient: Dice and volumes on the stack's own grid. A study that is not segmented counts as empty."""
    volumes, tumour = load_stack(folder)
    grid = next(iter(volumes.values())).grid
    row: dict[str, Any] = {"case": folder.name, "roles": [role.value for role in volumes], "answer": None}
    predicted = np.zeros(grid.shape, np.bool_)
    try:
        predicted = segmented(volumes, segmenter, kept).labels > 0
    except PipelineError as error:
        row["answer"] = str(error)
    score = score_region(predicted, tumour, grid.spacing_mm, grid.voxel_volume_ml)
    return row | {"dice": score.dice, "volume_ml": score.volume_ml, "truth_volume_ml": score.truth_volume_ml}


def score_stacks(data: Path, split: str, segmenter: Segmenter, kept: Path | None = None) -> dict[str, Any]:
    """Every patient of a split, and their mean. JSON-ready.

    Raises:
        FileNotFoundError: DATA has no stacks of this split.
    """
    folders = stack_folders(data, split)
    if not folders:
        raise FileNotFoundError(f"no stack under {data / 'lgg_stacks' / split}")
    rows = [score_stack(folder, segmenter, kept) for folder in folders]
    dices = [row["dice"] for row in rows if row["dice"] is not None]
    return {
        "kind": "stacks",
        "split": split,
        "cases": rows,
        "patients": len(dices),
        "mean_dice": float(np.mean(dices)),
        "median_dice": float(np.median(dices)),
    }


def main(words: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with lgg_stacks/")
    parser.add_argument("--models", default="models")
    parser.add_argument("--name", default="BraTS2020_nnU_Net_Segmentation", help="the segmenter's name in the manifest")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--prepared", type=Path, help="folder that keeps the prepared studies")
    arguments = parser.parse_args(words)
    segmenter = load_registered(Path(arguments.models), arguments.name)
    print(json.dumps(score_stacks(Path(arguments.data), arguments.split, segmenter, arguments.prepared), indent=1))


if __name__ == "__main__":
    main()
