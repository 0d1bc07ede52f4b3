"""The models of a node: read from models/manifest.json, each loaded or, with the reason, left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import MANIFEST, TASKS, ManifestEntry, read_manifest, verified_file
from pipeline.models.protocols import Models, Segmenter, SliceClassifier
from pipeline.models.roster import Loaded, Place, assemble
from pipeline.models.runtime_options import RuntimeOptions

#: Manifest 'format' to 'module:function' (entry, folder, options) -> model. By name: no framework is imported here.
LOADERS: Mapping[str, str] = {
    "keras": "pipeline.models.resnet50:load_keras_classifier",
    "keras-h5": "pipeline.models.resnet50:load_keras_classifier",
    "onnx-classifier": "pipeline.models.classifier_onnx:load_onnx_classifier",
    "torch-state-dict": "pipeline.models.segmenter_loading:load_segmenter",
    "nnunet-v2": "pipeline.models.segmenter_loading:load_segmenter",
    "torchscript": "pipeline.models.segmenter_loading:load_segmenter",
    "onnx-segmenter": "pipeline.models.segmenter_loading:load_segmenter",
}


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """One line of the health page. detail: what is wrong and what to do, or what the model is.

    mode, share, ensemble, sha256: as the manifest has them; of an entry that cannot be read, nothing.
    """

    name: str
    task: str
    version: str
    ok: bool
    detail: str
    mode: str = ""
    share: float = 0.0
    ensemble: str | None = None
    sha256: str = ""


def load_models(
    folder: Path, options: RuntimeOptions = RuntimeOptions(), tasks: Collection[str] | None = None
) -> tuple[Models, tuple[ModelStatus, ...]]:
    """Every usable model of `folder`, checked and loaded, in the manifest's order (`selection` chooses among them).

    tasks: load those for these tasks alone.

    Never raises for a model: what cannot be used is left out, its reason in the statuses, which are in the manifest's
    order, and for a task without an active model in `Models.unavailable` (task to sentence).
    """
    try:
        entries = read_manifest(folder)
    except ModelUnusable as error:
        status = ModelStatus(name=MANIFEST, task="", version="", ok=False, detail=str(error))
        return Models(unavailable=dict.fromkeys(TASKS, str(error))), (status,)
    if tasks is not None:
        entries = tuple(values for values in entries if values.get("task") in tasks)
    attempts = [_attempt(values, folder, partial(load_model, options=options)) for values in entries]
    loaded = [
        Loaded(entry=ManifestEntry.from_json(values), model=model)
        for values, (_, model) in zip(entries, attempts, strict=True)
        if isinstance(model, SliceClassifier | Segmenter)
    ]
    models, places = assemble(loaded, {})
    found = iter(places)
    statuses = tuple(status if model is None else _placed(status, next(found)) for status, model in attempts)
    return replace(models, unavailable=_unavailable(models, statuses)), statuses


def _placed(status: ModelStatus, place: Place) -> ModelStatus:
    return (
        replace(status, detail=f"{status.detail}; {place.part}")
        if place.ok
        else replace(status, ok=False, detail=place.part)
    )


def _unavailable(models: Models, statuses: Sequence[ModelStatus]) -> dict[str, str]:
    """For each task without an active model the first reason there is."""
    preferred = (models.detector, models.type_classifier, models.segmenter)
    reasons: dict[str, str] = {}
    for task, model in zip(TASKS, preferred, strict=True):
        own = [status for status in statuses if status.task == task]
        if model is None:
            nothing = f"{MANIFEST} names no {'active ' if own else ''}model for {task}"
            reasons[task] = next((status.detail for status in own if not status.ok), nothing)
    return reasons


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
    # What serves the model, and why not what the manifest asks for; loaders may leave it out.
    runtime = getattr(model, "runtime_detail", "")
    detail = f"{detail}, {runtime}" if runtime else detail
    status = _status(values, ok=True, detail=detail)
    told = replace(status, mode=entry.mode, share=entry.share, ensemble=entry.ensemble, sha256=entry.sha256)
    return told, model


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


def load_model(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> SliceClassifier | Segmenter:
    """The entry's model, checked, loaded and tried once.

    Raises:
        ModelUnusable: as the loader of its format says, or that cannot serve the entry's task.
    """
    module, _, function = _loader_of(entry).partition(":")
    # Here as well as in the loaders, so that a new loader cannot forget it; the hash is remembered.
    verified_file(entry, folder)
    model: object = getattr(import_module(module), function)(entry, folder, options)
    if not isinstance(model, Segmenter if entry.task == "segmentation" else SliceClassifier):
        raise ModelUnusable(
            entry.name,
            f"format '{entry.format}' cannot serve the task '{entry.task}'",
            f"Correct the entry in {MANIFEST}.",
        )
    return model
