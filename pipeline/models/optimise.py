"""Bringing a registered model to its fastest faithful runtime, once, and saying so in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import MANIFEST, ManifestEntry, read_manifest
from pipeline.models.runtime_options import RuntimeOptions

#: Manifest 'format' to 'module:function' (entry, folder, options) -> manifest keys to write. Segmenters' also take
#: `cases`, a folder of labelled cases. Formats that are not here run as fast as they can already.
OPTIMISERS: Mapping[str, str] = {
    "keras": "pipeline.models.resnet50:optimise_keras_classifier",
    "keras-h5": "pipeline.models.resnet50:optimise_keras_classifier",
    "torch-state-dict": "pipeline.models.segmenter_optimise:optimise_segmenter",
    "nnunet-v2": "pipeline.models.segmenter_optimise:optimise_segmenter",
    "torchscript": "pipeline.models.segmenter_optimise:optimise_segmenter",
    "onnx-segmenter": "pipeline.models.segmenter_optimise:optimise_segmenter",
}


def manifest_values(folder: Path, name: str) -> Mapping[str, Any]:
    """The manifest's entry of this name as it stands there.

    Raises:
        ModelUnusable: there is none.
    """
    entries = read_manifest(folder)
    for values in entries:
        if values.get("name") == name:
            return values
    known = ", ".join(str(values.get("name")) for values in entries) or "none"
    raise ModelUnusable(name, f"{MANIFEST} has no entry of this name (it has {known})", "Name one of these.")


def optimised(
    values: Mapping[str, Any], folder: Path, options: RuntimeOptions, cases: Path | None = None
) -> dict[str, Any]:
    """The entry with the runtime it was found to run on faithfully; its converted network is then in the cache.

    cases: labelled cases (as `evaluate volumes` reads them) on which a segmenter's lower precision has to prove itself.

    Raises:
        ModelUnusable: the entry cannot be used.
        ConversionFailed: it cannot be converted, or not faithfully.
    """
    entry = ManifestEntry.from_json(values)
    if entry.format not in OPTIMISERS:
        return dict(values)
    module, _, function = OPTIMISERS[entry.format].partition(":")
    extra = {"cases": cases} if entry.task == "segmentation" else {}
    changes: Mapping[str, Any] = getattr(import_module(module), function)(entry, folder, options, **extra)
    return {**values, **changes}
