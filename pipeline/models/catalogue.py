"""The models of a node: read from models/manifest.json, each loaded or, with the reason, left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import MANIFEST, TASKS, ManifestEntry, read_manifest, verified_file
from pipeline.models.protocols import Models, Segmenter, SliceClassifier

#: Manifest 'format' to 'module:function' (entry, folder) -> model. By name, so that no framework is imported here.
LOADERS: Mapping[str, str] = {
    "keras": "pipeline.models.resnet50:load_keras_classifier",
    "keras-h5": "pipeline.models.resnet50:load_keras_classifier",
    "torch-state-dict": "pipeline.models.unet3d:load_torch_segmenter",
}


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """One line of the health page. detail: what is wrong and what to do, or what the model is."""

    name: str
    task: str
    version: str
    ok: bool
    detail: str


def load_models(folder: Path) -> tuple[Models, tuple[ModelStatus, ...]]:
    """Every usable model of `folder`, checked and loaded; the first of each task in the manifest's order is used.

    Never raises for a model: what cannot be used is None, its reason in `Models.unavailable` (task to sentence) and in
    the statuses, which are in the manifest's order.
    """
    chosen: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    statuses: list[ModelStatus] = []
    try:
        entries = read_manifest(folder)
    except ModelUnusable as error:
        status = ModelStatus(name=MANIFEST, task="", version="", ok=False, detail=str(error))
        nothing = Models(
            detector=None, type_classifier=None, segmenter=None, unavailable=dict.fromkeys(TASKS, str(error))
        )
        return nothing, (status,)
    for values in entries:
        status, model = _attempt(values, folder, _load)
        if model is not None and status.task in chosen:
            status = _status(values, ok=True, detail="usable, but another model of this task stands before it")
        elif model is not None:
            chosen[status.task] = model
        else:
            unavailable.setdefault(status.task, status.detail)
        statuses.append(status)
    for task in TASKS:
        if task in chosen:
            unavailable.pop(task, None)
        else:
            unavailable.setdefault(task, f"{MANIFEST} names no model for {task}")
    models = Models(
        detector=chosen.get("detection"),
        type_classifier=chosen.get("type"),
        segmenter=chosen.get("segmentation"),
        unavailable={task: reason for task, reason in unavailable.items() if task in TASKS},
    )
    return models, tuple(statuses)


def check_models(folder: Path) -> tuple[ModelStatus, ...]:
    """The statuses as far as manifest, files and hashes tell, without importing a framework or loading a model."""
    try:
        entries = read_manifest(folder)
    except ModelUnusable as error:
        return (ModelStatus(name=MANIFEST, task="", version="", ok=False, detail=str(error)),)
    return tuple(_attempt(values, folder, _verify)[0] for values in entries)


def _attempt(
    values: Mapping[str, Any], folder: Path, use: Callable[[ManifestEntry, Path], object]
) -> tuple[ModelStatus, object | None]:
    try:
        entry = ManifestEntry.from_json(values)
        model = use(entry, folder)
    except ModelUnusable as error:
        return _status(values, ok=False, detail=str(error)), None
    except Exception as error:  # a loader's framework may raise anything; one model must not stop the node
        reason = f"model '{values.get('name')}': loading failed with {type(error).__name__}: {error}"
        return _status(values, ok=False, detail=f"{reason}. Check the file and the installed framework."), None
    size = " x ".join(str(n) for n in entry.input_size)
    detail = f"{entry.format}, input {size}, sha256 {entry.sha256[:12]}"
    return _status(values, ok=True, detail=detail), model


def _status(values: Mapping[str, Any], *, ok: bool, detail: str) -> ModelStatus:
    name, task, version = (str(values.get(key, "")) for key in ("name", "task", "version"))
    return ModelStatus(name=name, task=task, version=version, ok=ok, detail=detail)


def _loader_of(entry: ManifestEntry) -> str:
    if entry.format not in LOADERS:
        raise ModelUnusable(
            entry.name,
            f"its format '{entry.format}' is none this node reads ({', '.join(LOADERS)})",
            f"Correct the entry in {MANIFEST}.",
        )
    return LOADERS[entry.format]


def _verify(entry: ManifestEntry, folder: Path) -> Path:
    _loader_of(entry)
    return verified_file(entry, folder)


def _load(entry: ManifestEntry, folder: Path) -> object:
    module, _, function = _loader_of(entry).partition(":")
    # Here as well as in the loaders, so that a new loader cannot forget it; the hash is remembered.
    verified_file(entry, folder)
    model: object = getattr(import_module(module), function)(entry, folder)
    if not isinstance(model, Segmenter if entry.task == "segmentation" else SliceClassifier):
        raise ModelUnusable(
            entry.name,
            f"format '{entry.format}' cannot serve the task '{entry.task}'",
            f"Correct the entry in {MANIFEST}.",
        )
    return model
