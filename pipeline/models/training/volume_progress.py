"""What a training run leaves behind: a CSV of its numbers, a picture of its curves, checkpoints to resume from."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

LOG_NAME = "curves.csv"
CHECKPOINT_NAME = "checkpoint.pt"
BEST_NAME = "best.pt"


def append_row(out: Path, row: Mapping[str, float | int]) -> None:
    """Adds one row to OUT/curves.csv, with a header where the file is new."""
    path = out / LOG_NAME
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if fresh:
            writer.writeheader()
        writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()})


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Written aside and renamed, so that a stop in the middle leaves the one before."""
    aside = path.with_suffix(".part")
    torch.save(dict(state), aside)
    os.replace(aside, path)


def draw_curves(out: Path) -> None:
    """OUT/curves.png from OUT/curves.csv: loss, and Dice of each region, over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with (out / LOG_NAME).open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    if not rows:
        return
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = [row["step"] for row in rows]
    left.plot(steps, [row["loss"] for row in rows], color="#1f4e79")
    left.set(xlabel="step", ylabel="training loss (Dice + cross-entropy)")
    for name in ("WT", "TC", "ET"):
        right.plot(steps, [row[f"dice_{name}"] for row in rows], label=name)
    right.set(xlabel="step", ylabel="mean Dice, validation cases", ylim=(0, 1))
    right.legend()
    figure.savefig(out / "curves.png", dpi=110)
    pyplot.close(figure)
