"""Releases a trained segmenter: weights in half precision, its figures, its card and its line in the manifest.

`python -m pipeline.models.training.volume_release --run DIR --data DIR --models models`
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline.models.training.release import register
from pipeline.models.training.volume_card import render_card
from pipeline.models.training.volume_cases import VALIDATION_CASES
from pipeline.models.training.volume_progress import BEST_NAME
from pipeline.models.training.volume_scores import score_validation_cases
from pipeline.models.training.volume_training import averaged_network
from pipeline.models.unet3d_network import UNet3d
from pipeline.report import Region
from pipeline.volume import CHANNEL_ORDER

NAME = "BraTS2020_nnU_Net_Segmentation"
FILE = f"Segmentation/{NAME}.pth"
CARD = "cards/segmentation.md"


def export_weights(network: UNet3d, path: Path) -> None:
    """Writes the state dict in half precision (it is loaded as float32), nothing but tensors.

    Raises:
        ValueError: a weight is too large for half precision.
    """
    weights = {name: value.detach().half() for name, value in network.state_dict().items()}
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise ValueError("a weight does not fit half precision; train longer or with weight decay")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)


def release(
    run: Path, data: Path, models: Path, *, version: str, spacing_mm: float, checkpoint: str, note: str = ""
) -> dict[str, Any]:
    """Exports, registers, scores through the registered file itself, and writes the card. Returns the figures."""
    network = averaged_network(run / checkpoint)
    state = torch.load(run / checkpoint, weights_only=True)
    export_weights(network, models / FILE)
    entry: dict[str, Any] = {
        "name": NAME,
        "task": "segmentation",
        "file": FILE,
        "version": version,
        "format": "torch-state-dict",
        "input_size": [128, 128, 128],
        "regions": [region.value for region in Region],
        "channels": [role.value for role in CHANNEL_ORDER],
        "roles": [role.value for role in CHANNEL_ORDER],
        "threshold": 0.5,
        "temperature": 1.0,
        "spacing_mm": spacing_mm,
        "architecture": asdict(network.plan),
        "data": ", ".join(f"{count} {kind}" for kind, count in state["cases"].items()),
        "metrics": {},
        "licence": "research only: trained on data whose redistribution is not cleared",
        "date": datetime.date.today().isoformat(),
        "card": CARD,
    }
    register(models, entry)
    figures = score_validation_cases(models, NAME, data)
    entry["metrics"] = {
        f"dice_{region.value}": _rounded(figures["mean"][region.value]["dice"]) for region in Region
    } | {"validation_cases": list(VALIDATION_CASES)}
    register(models, entry)
    card = models / CARD
    card.parent.mkdir(parents=True, exist_ok=True)
    size_mb = (models / FILE).stat().st_size / 1e6
    text = render_card(
        entry,
        figures,
        steps=int(state["step"]),
        minutes=float(state["seconds"]) / 60,
        size_mb=size_mb,
        cases=state["cases"],
        command=state["command"],
        note=note,
    )
    card.write_text(text, encoding="utf-8")
    if (run / "curves.png").exists():
        shutil.copyfile(run / "curves.png", card.with_name("segmentation-curves.png"))
    return figures


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def main(words: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="folder that volume_training wrote")
    parser.add_argument("--data", required=True, help="folder with mri3d/full")
    parser.add_argument("--models", default="models")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--spacing-mm", type=float, default=1.5)
    parser.add_argument("--checkpoint", default=BEST_NAME)
    parser.add_argument("--note", default="", help="a sentence for the card: how the run differed from its command")
    arguments = parser.parse_args(words)
    figures = release(
        Path(arguments.run),
        Path(arguments.data),
        Path(arguments.models),
        version=arguments.version,
        spacing_mm=arguments.spacing_mm,
        checkpoint=arguments.checkpoint,
        note=arguments.note,
    )
    print(json.dumps(figures["mean"], indent=1))


if __name__ == "__main__":
    main()
