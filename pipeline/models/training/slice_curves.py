"""The curves of a run, as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_curves(history: Sequence[Mapping[str, float]], folder: Path) -> None:
    """`folder`/curves.csv, one row an epoch, and `folder`/curves.png: losses left, validation figures right."""
    with (folder / "curves.csv").open("w", newline="") as text:
        writer = csv.DictWriter(text, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    epochs = [row["epoch"] for row in history]
    for axis, names in (
        (axes[0], ("loss_detection", "loss_type", "loss_outline")),
        (axes[1], ("detection_auc", "lgg_auc", "detection_accuracy", "type_accuracy")),
    ):
        for name in names:
            axis.plot(epochs, [row[name] for row in history], label=name.replace("_", " "))
        axis.set_xlabel("epoch")
        axis.legend()
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=80)
    pyplot.close(figure)
