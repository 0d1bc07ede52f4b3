"""Make the two model files of a trained run: python -m pipeline.models.training.slice_release --data DIR --run DIR.

The averaged weights of the best full-size epoch by validation become Detection/ResNet50-Binary-Detection.keras and
Classification/Brain-Tumor-Classification-ResNet50.h5, stored as float16 and computed in float32, calibrated on the
validation slices, entered in manifest.json with a card each. The test slices are read once, for the card.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classification_metrics import fit_temperature, with_temperature
from pipeline.evaluation.slices import summarise
from pipeline.models.manifest import DETECTION_CLASSES, ManifestEntry
from pipeline.models.resnet50 import load_keras_classifier
from pipeline.models.resnet50_file import CLASSES_ATTRIBUTE, CLASSES_MEMBER
from pipeline.models.training.release import register
from pipeline.models.training.slice_card import card_text, threshold_text
from pipeline.models.training.slice_data import TYPE_CLASSES, UNSPECIFIED, SliceSet, cached_slices
from pipeline.models.training.slice_network import classifier, training_network
from pipeline.models.training.slice_probe import probe_accuracy
from pipeline.models.training.slice_study import choose_threshold, study_scores, validation_studies
from pipeline.models.training.slice_training import resized

DETECTION_FILE = "Detection/ResNet50-Binary-Detection.keras"
TYPE_FILE = "Classification/Brain-Tumor-Classification-ResNet50.h5"
#: Most that rounding the weights to float16 may move a probability.
ROUNDING_TOLERANCE = 1e-2
DATA_NOTE = (
    "2D slices (Cheng figshare 1512427, TCGA-LGG kaggle_3m, Br35H, Sartaj no-tumour) split by patient or look-alike "
    "group; for training also slices of TCGA-LGG stacks, 11 BraTS cases, one open_ms_data volume and synthetic heads"
)


@dataclass(frozen=True, kw_only=True)
class SliceModel:
    """What tells one of the two files from the other. head: of the training network."""

    name: str
    task: str
    file: str
    format: str
    head: str
    classes: tuple[str, ...]


MODELS = (
    SliceModel(
        name="ResNet50-Binary-Detection",
        task="detection",
        file=DETECTION_FILE,
        format="keras",
        head="detection",
        classes=DETECTION_CLASSES,
    ),
    SliceModel(
        name="Brain-Tumor-Classification-ResNet50",
        task="type",
        file=TYPE_FILE,
        format="keras-h5",
        head="type",
        classes=TYPE_CLASSES,
    ),
)


def halve_weights(path: Path, classes: tuple[str, ...]) -> None:
    """Rewrite a `.keras` or `.h5` file with its weights as float16 and its class names inside.

    Keras assigns them to float32 variables on loading, so only storage is halved, not arithmetic.
    """
    if path.suffix == ".h5":
        _halve_hdf5(path, path.with_suffix(".part"), {CLASSES_ATTRIBUTE: json.dumps(classes)})
        path.with_suffix(".part").replace(path)
        return
    partial = path.with_suffix(".part")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as new:
        for member in old.namelist():
            content = old.read(member)
            if member.endswith(".h5"):
                target = io.BytesIO()
                _halve_hdf5(io.BytesIO(content), target, {})
                content = target.getvalue()
            # A fixed date: the same weights give the same bytes.
            new.writestr(zipfile.ZipInfo(member, (2026, 11, 23, 0, 0, 0)), content)
        new.writestr(zipfile.ZipInfo(CLASSES_MEMBER, (2026, 11, 23, 0, 0, 0)), json.dumps(classes))
    partial.replace(path)


def _halve_hdf5(source: Any, target: Any, attributes: Mapping[str, str]) -> None:
    import h5py

    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)
        new.attrs.update(attributes)

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                values = values.astype(np.float16) if values.dtype == np.float32 else values
                made = new.create_dataset(name, data=values)
            else:
                made = new.require_group(name)
            made.attrs.update(item.attrs)

        old.visititems(copy)


def best_network(run: Path) -> tuple[Any, dict[str, Any]]:
    """The averaged network of the best full-size epoch (else of the last epoch) and that epoch's row of the curves."""
    network = training_network(TYPE_CLASSES)
    with np.load(run / "state.npz") as state:
        history = json.loads(str(state["history"]))
    chosen = run / "best.npz" if (run / "best.npz").exists() else run / "state.npz"
    with np.load(chosen) as arrays:
        network.set_weights([arrays[f"average/{n}"] for n in range(len(network.weights))])
        epoch = int(arrays["epoch"]) if "epoch" in arrays else len(history)
        share, of_epoch = (float(arrays[name]) if name in arrays else 0.0 for name in ("share", "share_of_epoch"))
    sizes = [int(row["size"]) for row in history]
    stages = ", ".join(f"{len(list(same))} at {size}" for size, same in groupby(sizes))
    row = history[epoch - 1]
    facts = {"epochs": len(history), "stages": stages, "share_of_start": share, "share_of_epoch": of_epoch}
    return network, {"serves_at": row["size"]} | row | facts


def source_probe(network: Any, slices: SliceSet, size: int) -> dict[str, float]:
    """How well a linear probe reads a slice's dataset from the features behind both answers, and, for comparison, from
    the bare picture at 16 x 16; the chance of a guess beside them."""
    pictures = resized(slices.images, size).astype(np.float32)[..., None] / 255.0
    features = np.concatenate(
        [np.asarray(network(pictures[n : n + 32], training=False)["features"]) for n in range(0, len(pictures), 32)]
    )
    bare = resized(slices.images, 16).reshape(len(slices), -1).astype(np.float64)
    return {
        "features": round(probe_accuracy(features.astype(np.float64), slices.dataset, slices.patient), 3),
        "picture": round(probe_accuracy(bare, slices.dataset, slices.patient), 3),
        "chance": round(1 / len(np.unique(slices.dataset)), 3),
    }


def release(
    data: Path,
    run: Path,
    folder: Path,
    version: str,
    *,
    with_test: bool,
    note: str = "",
    phantoms: Path | None = None,
    day: date | None = None,
) -> None:
    """Write both files, their cards and their manifest entries into `folder` from the run's state.

    with_test: read the test slices too, for the card. note: what the card should add about this run. phantoms: cases
    of synthetic heads that training did not see, for the study's threshold. day: of the release, else today.

    Raises:
        ValueError: float16 storage moved a probability by more than `ROUNDING_TOLERANCE`.
    """
    network, epoch = best_network(run)
    splits = ("val", "test") if with_test else ("val",)
    sets = {split: cached_slices(data, split, run / "cache") for split in splits}
    (folder / "cards").mkdir(parents=True, exist_ok=True)
    works_at = int(epoch["serves_at"])
    probe = source_probe(network, sets["val"], works_at)
    for model in MODELS:
        exact = classifier(network, model.head, len(model.classes), trained_size=works_at)
        path = folder / model.file
        path.parent.mkdir(parents=True, exist_ok=True)
        exact.save(path)
        halve_weights(path, model.classes)
        entry = {
            "name": model.name,
            "task": model.task,
            "file": model.file,
            "version": version,
            "format": model.format,
            "input_size": 224,
            "classes": list(model.classes),
            "roles": ["T1CE", "FLAIR", "T2", "T1"],
            "threshold": 0.5,
            "temperature": 1.0,
            "architecture": {
                "network": "ResNet50 (3-4-6-3)",
                "width": 0.5,
                "channels": 1,
                "works_at": works_at,
                "parameters": int(exact.count_params()),
                "stored": "float16",
                "computed": "float32",
            },
            "data": DATA_NOTE,
            "licence": "research use only; see the card",
            "date": (day or date.today()).isoformat(),
            "card": f"cards/{model.name}.md",
        }
        register(folder, entry)
        stored = load_keras_classifier(_entry(folder, model.name), folder)
        raw = {split: stored.predict(_pictures(one)) for split, one in sets.items()}
        few = _pictures(sets["val"])[:32]
        moved = float(np.abs(raw["val"][:32] - np.asarray(exact(few[..., None], training=False))).max())
        if moved > ROUNDING_TOLERANCE:
            raise ValueError(f"{model.name}: float16 storage moves a probability by {moved:.4f}")
        temperature = round(_temperature(raw["val"], sets["val"], model.task), 4)
        figures = {
            split: _figures(with_temperature(raw[split], temperature), one, model) for split, one in sets.items()
        }
        figures["val"] |= {"source_probe": probe}
        entry |= {"temperature": temperature, "metrics": figures}
        register(folder, entry)
        study = ""
        if model.task == "detection":
            calibrated = load_keras_classifier(_entry(folder, model.name), folder)
            studies = validation_studies(data, phantoms)
            chosen = choose_threshold([score for study in studies for score in study_scores(calibrated, study)])
            entry |= {"threshold": chosen.threshold}
            register(folder, entry)
            study = threshold_text(chosen)
        card = card_text(entry, figures, epoch, moved, note=note, study=study)
        (folder / "cards" / f"{model.name}.md").write_text(card)
    shutil.copy(run / "curves.csv", folder / "cards" / "ResNet50-slices-curves.csv")
    shutil.copy(run / "curves.png", folder / "cards" / "ResNet50-slices-curves.png")


def _entry(folder: Path, name: str) -> ManifestEntry:
    models = json.loads((folder / "manifest.json").read_text())["models"]
    return ManifestEntry.from_json(next(model for model in models if model["name"] == name))


def _pictures(slices: SliceSet) -> NDArray[np.float32]:
    return slices.images.astype(np.float32) / 255.0


def _temperature(probabilities: NDArray[Any], slices: SliceSet, task: str) -> float:
    if task == "detection":
        return fit_temperature(probabilities, slices.tumour)
    known = slices.kind != UNSPECIFIED
    return fit_temperature(probabilities[known], slices.kind[known])


def _figures(probabilities: NDArray[Any], slices: SliceSet, model: SliceModel) -> dict[str, Any]:
    labels = [TYPE_CLASSES[k] if k != UNSPECIFIED else "tumor_unspecified" for k in slices.kind]
    return summarise(
        labels,
        slices.dataset.tolist(),
        slices.patient.tolist(),
        detection=probabilities[:, 1] if model.task == "detection" else None,
        kinds=probabilities if model.task == "type" else None,
        kind_classes=TYPE_CLASSES,
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line: release a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="the --out folder of slice_training")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--version", default="0.3.0")
    parser.add_argument("--date", type=date.fromisoformat, help="of the release (default: today)")
    parser.add_argument("--extra-cases", type=Path, help="synthetic heads unseen in training, for the study threshold")
    parser.add_argument("--note", default="", help="what the cards should add about this run")
    parser.add_argument("--without-test", action="store_true", help="leave the test slices unread: an interim release")
    chosen = parser.parse_args(arguments)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    release(
        chosen.data,
        chosen.run,
        chosen.models,
        chosen.version,
        with_test=not chosen.without_test,
        note=chosen.note,
        phantoms=chosen.extra_cases,
        day=chosen.date,
    )


if __name__ == "__main__":
    main()
