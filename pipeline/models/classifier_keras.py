"""Keras networks as their files hold them: the reference path. TensorFlow is imported when a network is loaded.

A file of Keras 2 is tried with Keras 3 first, then with tf_keras, which is optional.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.classifier import SliceNetwork
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.resnet50_file import KerasFile, inspect
from pipeline.volume import FloatArray

_EXPORT = "Copy the file again or export it anew with Keras 3."


def inspected_file(entry: ManifestEntry, folder: Path) -> tuple[Path, KerasFile]:
    """The entry's file and what it says of itself, without importing Keras.

    Raises:
        ModelUnusable: missing or other bytes than the manifest's; no whole Keras file; another class order than the
            manifest's; a layer that would run code from the file which the operator has not allowed.
    """
    path = verified_file(entry, folder)
    file = inspect(entry.name, path, allow_lambda=entry.allow_lambda_sha256 == entry.sha256)
    if file.classes and file.classes != entry.own_classes:
        reason = f"its file orders the classes {list(file.classes)}, the manifest {list(entry.own_classes)}"
        raise ModelUnusable(
            entry.name, reason, "Use the file this entry was written for, or correct the entry in manifest.json."
        )
    return path, file


def load_keras_network(entry: ManifestEntry, folder: Path) -> Any:
    """The `keras.Model` (or `tf_keras.Model`, for a file of Keras 2) of an entry, compiled for nothing.

    Raises:
        ModelUnusable: as `inspected_file`, or neither Keras can load it.
    """
    path, file = inspected_file(entry, folder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    safe = entry.allow_lambda_sha256 != entry.sha256
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=safe)
    except Exception as error:  # Keras raises whatever its layers raise on a damaged or foreign file
        if not file.is_keras_3:
            return _load_by_keras_2(entry, path, file, safe)
        reason = f"Keras {keras.__version__} cannot load '{entry.file}' ({type(error).__name__}: {_first_line(error)})"
        raise ModelUnusable(entry.name, reason, _EXPORT) from error


def reference_network(entry: ManifestEntry, folder: Path, threads: int) -> tuple[SliceNetwork, Any]:
    """The entry's network as a compiled TensorFlow function, and that `tf.function` itself.

    threads: 0 for all; the first model's number counts.

    Raises:
        ModelUnusable: as `load_keras_network`, or the network has not one input and one output.
    """
    network = load_keras_network(entry, folder)
    import tensorflow as tf

    if threads:
        _limit_threads(threads)
    inputs, outputs = _ends(entry, network)
    shape = tuple(inputs.shape[1:])
    graph = tf.function(
        lambda images: network(images, training=False), input_signature=[tf.TensorSpec((None, *shape), tf.float32)]
    )

    def forward(images: FloatArray) -> FloatArray:
        return np.asarray(graph(tf.constant(images)).numpy(), np.float32)

    described = SliceNetwork(
        forward=forward, input_shape=shape, output_shape=tuple(outputs.shape[1:]), detail="reference (tensorflow)"
    )
    return described, graph


def _load_by_keras_2(entry: ManifestEntry, path: Path, file: KerasFile, safe: bool) -> Any:
    written = f"'{entry.file}' was written by Keras {file.keras_version or 'of unknown version'}"
    try:
        import tf_keras
    except ImportError as error:
        reason = f"{written}, which Keras 3 cannot load, and tf_keras is not installed"
        remedy = "Install the extra that reads it (pip install 'brain-tumor-node[keras2]'), or export it with Keras 3."
        raise ModelUnusable(entry.name, reason, remedy) from error
    try:
        return tf_keras.models.load_model(path, compile=False, safe_mode=safe)
    except Exception as error:  # as above
        reason = (
            f"{written}, and neither Keras 3 nor tf_keras can load it ({type(error).__name__}: {_first_line(error)})"
        )
        raise ModelUnusable(entry.name, reason, _EXPORT) from error


def _ends(entry: ManifestEntry, network: Any) -> tuple[Any, Any]:
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    try:
        inputs, outputs = tuple(network.inputs or ()), tuple(network.outputs or ())
    except (AttributeError, ValueError):  # a model that was never called has no ends
        inputs, outputs = (), ()
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise ModelUnusable(entry.name, f"its network has {found}, not one of each", "Export it with one of each.")
    return inputs[0], outputs[0]


def _limit_threads(threads: int) -> None:
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has begun already, with an earlier model's number
        return


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
