"""Releases a trained segmenter: calibrated, in half precision, with its figures, its card and its line in the manifest.

`python -m pipeline.models.training.volume_release --run DIR --data DIR --heads DIR --models models --version 0.2.0`

Tried with a `--models` folder of its own first; the stacks of the test split are read only where `--test` is given.
Figures of the same weights that `--figures` holds already are not measured again, so that a release goes on where it
was stopped, and what a trial measured serves the release.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from pipeline.models.training.release import register
from pipeline.models.training.volume_calibration import calibration_figures, fold_temperatures
from pipeline.models.training.volume_card import render_card
from pipeline.models.training.volume_cases import VALIDATION_CASES
from pipeline.models.training.volume_false_volume import all_heads, score_heads
from pipeline.models.training.volume_progress import BEST_NAME
from pipeline.models.training.volume_scores import load_registered, score_validation_cases, validation_voxels
from pipeline.models.training.volume_stack_scores import score_stacks
from pipeline.models.training.volume_training import averaged_network
from pipeline.models.unet3d_network import UNet3d
from pipeline.report import Region
from pipeline.volume import CHANNEL_ORDER, SeriesRole

NAME = "BraTS2020_nnU_Net_Segmentation"
FILE = f"Segmentation/{NAME}.pth"
CARD = "cards/segmentation.md"
_WRITING = Lock()


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


def release(arguments: argparse.Namespace) -> dict[str, Any]:
    """Exports, registers, calibrates, measures through the registered file itself, writes the card. The figures."""
    models, data, checkpoint = Path(arguments.models), Path(arguments.data), Path(arguments.run) / arguments.checkpoint
    network = averaged_network(checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    entry: dict[str, Any] = {
        "name": NAME,
        "task": "segmentation",
        "file": FILE,
        "version": arguments.version,
        "format": "torch-state-dict",
        "input_size": [128, 128, 128],
        "regions": [region.value for region in Region],
        "channels": [role.value for role in CHANNEL_ORDER],
        "roles": [role.value for role in CHANNEL_ORDER],
        "needs": [SeriesRole.T1CE.value, SeriesRole.FLAIR.value],
        "threshold": 0.5,
        "temperature": 1.0,
        "spacing_mm": arguments.spacing_mm,
        "architecture": asdict(network.plan),
        "data": ", ".join(f"{count} {kind}" for kind, count in state["cases"].items()),
        "metrics": {},
        "licence": "research only: trained on data whose redistribution is not cleared",
        "date": datetime.date.today().isoformat(),
        "card": CARD,
    }
    export_weights(network, models / FILE)
    register(models, entry)
    calibration = _known(
        arguments,
        "calibration",
        _sha256(models / FILE),
        lambda: calibration_figures(validation_voxels(load_registered(models, NAME), data, arguments.prepared)),
    )
    fold_temperatures(network, {region: float(str(values["temperature"])) for region, values in calibration.items()})
    export_weights(network, models / FILE)
    register(models, entry)
    figures = {"calibration": calibration} | measured(arguments, _sha256(models / FILE))
    entry["metrics"] = metrics_of(figures)
    register(models, entry)
    card = models / CARD
    card.parent.mkdir(parents=True, exist_ok=True)
    size_mb = (models / FILE).stat().st_size / 1e6
    card.write_text(render_card(entry, figures, state, size_mb=size_mb, note=arguments.note), encoding="utf-8")
    if (Path(arguments.run) / "curves.png").exists():
        shutil.copyfile(Path(arguments.run) / "curves.png", card.with_name("segmentation-curves.png"))
    return figures


def measured(arguments: argparse.Namespace, sha256: str) -> dict[str, Any]:
    """The figures of the registered model, each kind in a process of its own, `--workers` at a time."""
    splits = ("test", "val") if arguments.test else ("val",)
    kinds = ["volumes", *(f"stacks {split}" for split in reversed(splits)), "heads"]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool, ThreadPoolExecutor(len(kinds)) as waiting:

        def one(kind: str) -> dict[str, Any]:
            return _known(arguments, kind, sha256, lambda: pool.submit(_figures_of, kind, arguments).result())

        found = dict(zip(kinds, waiting.map(one, kinds), strict=True))
    stacks = {split: found.pop(f"stacks {split}") for split in reversed(splits)}
    return found | {"stacks": stacks}


def _known(
    arguments: argparse.Namespace, kind: str, sha256: str, measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `--figures` holds of these weights, else what `measure` gives, which it then holds."""
    if not arguments.figures:
        return measure()
    path = Path(arguments.figures)
    stored = _stored(path).get(kind, {})
    if stored.get("sha256") == sha256:
        found: dict[str, Any] = stored["figures"]
        return found
    figures = measure()
    with _WRITING:
        text = json.dumps(_stored(path) | {kind: {"sha256": sha256, "figures": figures}}, indent=1)
        aside = path.with_suffix(".part")
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)
    return figures


def _stored(path: Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _figures_of(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data = Path(arguments.data)
    segmenter = load_registered(Path(arguments.models), NAME)
    if kind == "volumes":
        return score_validation_cases(segmenter, data, arguments.prepared)
    if kind == "heads":
        return score_heads(all_heads(data, arguments.heads), segmenter, arguments.prepared)
    return score_stacks(data, kind.removeprefix("stacks "), segmenter, arguments.prepared)


def metrics_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the manifest holds."""
    mean = figures["volumes"]["mean"]
    metrics: dict[str, Any] = {f"dice_{region.value}": _rounded(mean[region.value]["dice"]) for region in Region}
    metrics["false_volume_ml_ET"] = _rounded(mean[Region.ET.value]["false_volume_ml"])
    metrics |= {f"ece_{region}": values["ece"] for region, values in figures["calibration"].items()}
    metrics |= {f"dice_WT_stacks_{split}": _rounded(scores["mean_dice"]) for split, scores in figures["stacks"].items()}
    metrics["tumour_free_heads"] = figures["heads"]["clean"]
    metrics["validation_cases"] = list(VALIDATION_CASES)
    return metrics


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def main(words: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="folder that volume_training wrote")
    parser.add_argument("--data", required=True, help="folder with mri3d/ and lgg_stacks/")
    parser.add_argument("--heads", help="folder of NIfTI phantoms without a tumour that training did not see")
    parser.add_argument("--models", default="models")
    parser.add_argument("--version", default="0.2.0")
    parser.add_argument("--spacing-mm", type=float, default=1.25)
    parser.add_argument("--checkpoint", default=BEST_NAME)
    parser.add_argument("--test", action="store_true", help="also measure on the stacks' test split, once a release")
    parser.add_argument("--note", default="", help="a sentence for the card: how the run differed from its command")
    parser.add_argument("--threads", type=int, default=0, help="threads for PyTorch; 0 leaves its choice")
    parser.add_argument("--workers", type=int, default=1, help="kinds of figures measured at a time")
    parser.add_argument("--prepared", type=Path, help="folder that keeps the prepared studies from release to release")
    parser.add_argument("--figures", help="JSON file that keeps the figures as they are measured, by weights")
    arguments = parser.parse_args(words)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = release(arguments)
    print(json.dumps(metrics_of(figures), indent=1))


if __name__ == "__main__":
    main()
