"""Keras classifiers of slices (ResNet50 or any other) behind `protocols.SliceClassifier`.

Where the manifest asks for it, ONNX Runtime serves the network and TensorFlow is not imported: the file is converted
once, in a process of its own, and kept in the node's cache. Where that fails, the reference serves and says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConversionFailed, ModelUnusable
from pipeline.models.classifier import NetworkSliceClassifier, as_classifier
from pipeline.models.classifier_conversion import converted_file, read_parity
from pipeline.models.classifier_keras import inspected_file, reference_network
from pipeline.models.classifier_onnx import onnx_network
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.runtime_options import RuntimeOptions


def load_keras_classifier(
    entry: ManifestEntry, folder: Path, options: RuntimeOptions = RuntimeOptions()
) -> NetworkSliceClassifier:
    """The entry's `.keras` or `.h5` file, of Keras 3 or 2, checked and tried once with probe pictures.

    The model's own input may have one channel or three (the slice is repeated). Layers that would run code from the
    file are refused unless the entry allows them for this file's hash.

    Raises:
        ModelUnusable: missing, empty or other bytes than the manifest's; corrupt; no Keras here reads it; another input
            shape, number of classes, class order or kind of output.
    """
    inspected_file(entry, folder)
    why = ""
    if entry.runtime != "reference":
        faster = _faster(entry, folder, options)
        if not isinstance(faster, str):
            return faster
        why = f", not {entry.runtime}: {faster}"
    network, _ = reference_network(entry, folder, options.threads)
    return as_classifier(entry, replace(network, detail=network.detail + why))


def optimise_keras_classifier(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> Mapping[str, Any]:
    """Convert the entry's network into the cache and return the manifest keys that make a node use it.

    Raises:
        ModelUnusable: the entry cannot be used at all.
        ConversionFailed: it cannot be converted, or its answers differ from the reference's.
    """
    inspected_file(entry, folder)
    path = converted_file(entry, folder, options)
    as_classifier(entry, onnx_network(entry, path, options.threads))
    return {"runtime": "onnxruntime", "runtime_precision": "f32", "runtime_parity": read_parity(path)}


def keep_beside(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> Mapping[str, Any]:
    """Copy the converted network from the cache beside the weights, for nodes that are not to convert anything.

    Returns the manifest keys that name it. Raises as `optimise_keras_classifier`.
    """
    name = Path(entry.file).with_suffix(".onnx")
    shutil.copyfile(converted_file(entry, folder, options), folder / name)
    return {"runtime_file": name.as_posix(), "runtime_sha256": file_sha256(folder / name)}


def _faster(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> NetworkSliceClassifier | str:
    """The classifier on ONNX Runtime, or why there is none."""
    try:
        path = _runtime_file(entry, folder, options)
    except ConversionFailed as error:
        return error.reason
    except OSError as error:
        return f"the cache cannot be used ({error.strerror}: {error.filename})"
    try:
        return as_classifier(entry, onnx_network(entry, path, options.threads))
    except ModelUnusable as error:  # of the converted file or of the entry: the reference will tell
        return error.reason


def _runtime_file(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> Path:
    if entry.runtime != "onnxruntime":
        raise ConversionFailed(entry.name, f"{entry.runtime} serves no classifier here")
    if entry.runtime_file is None:
        return converted_file(entry, folder, options)
    path = folder / entry.runtime_file
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise ConversionFailed(entry.name, f"its runtime_file '{entry.runtime_file}' is not in the models folder")
    if file_sha256(path) != entry.runtime_sha256:
        raise ConversionFailed(
            entry.name, f"its runtime_file '{entry.runtime_file}' has another hash than runtime_sha256"
        )
    if entry.runtime_parity.get("weights_sha256") != entry.sha256:
        raise ConversionFailed(entry.name, f"its runtime_file '{entry.runtime_file}' was made from other weights")
    return path
