"""Keras classifiers of slices (ResNet50 or any other) behind `protocols.SliceClassifier`.

TensorFlow is imported when a model is loaded, not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.resnet50_file import inspect
from pipeline.report import ModelIdentity
from pipeline.volume import FloatArray, SeriesRole

BATCH = 8
_FIX = "Use the file this entry was written for, or correct the entry in manifest.json."


class KerasSliceClassifier:
    """A loaded Keras model that reads slices. Made by `load_keras_classifier`; fits `protocols.SliceClassifier`."""

    def __init__(self, entry: ManifestEntry, forward: Callable[[FloatArray], FloatArray], channels: int) -> None:
        self._entry = entry
        self._forward = forward
        self._channels = channels

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task and weights hash."""
        entry = self._entry
        return ModelIdentity(name=entry.name, version=entry.version, task=entry.task, weights_sha256=entry.sha256)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of `predict`'s last axis."""
        return self._entry.classes

    @property
    def roles(self) -> tuple[SeriesRole, ...]:
        """Roles the model was trained on, preferred first."""
        return self._entry.roles

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self._entry.input_size[0]

    @property
    def threshold(self) -> float:
        """Study probability from which a detector says 'tumour'."""
        return self._entry.threshold

    def predict(self, slices: FloatArray) -> FloatArray:
        """slices (n, size, size) in 0..1 to (n, classes) calibrated probabilities, rows summing to 1.

        Raises:
            ValueError: the slices are not (n, size, size).
        """
        size = self.input_size
        if slices.ndim != 3 or slices.shape[1:] != (size, size):
            raise ValueError(f"slices must be (n, {size}, {size}), not {slices.shape}")
        low, high = self._entry.input_range
        images = (slices * (high - low) + low).astype(np.float32)[..., None]
        images = np.repeat(images, self._channels, axis=-1)
        parts = [self._forward(images[n : n + BATCH]) for n in range(0, len(images), BATCH)]
        raw = np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)
        return _calibrated(_columns(raw), self._entry.temperature)


def _columns(raw: FloatArray) -> FloatArray:
    """One sigmoid column becomes two: the first class's share is the rest."""
    return np.stack([1 - raw[:, 0], raw[:, 0]], axis=1) if raw.shape[1] == 1 else raw


def _calibrated(probabilities: FloatArray, temperature: float) -> FloatArray:
    # p ** (1 / T), normalised, is softmax(logits / T).
    powers = np.clip(probabilities.astype(np.float64), 1e-12, 1.0) ** (1.0 / temperature)
    calibrated: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return calibrated


def load_keras_classifier(entry: ManifestEntry, folder: Path) -> KerasSliceClassifier:
    """The entry's `.keras` or `.h5` file (written by Keras 3), checked and tried once with a probe picture.

    The model's own input may have one channel or three (the slice is repeated). Its output is one probability for each
    class, or one sigmoid for two classes. Layers that would run foreign code are refused.

    Raises:
        ModelUnusable: missing, empty or other bytes than the manifest's; corrupt; by Keras 2; another input shape,
            number of classes or class order; the probe gives no probabilities.
    """
    path = verified_file(entry, folder)
    stated = inspect(entry.name, path).classes
    if stated and stated != entry.classes:
        raise ModelUnusable(
            entry.name, f"its file orders the classes {list(stated)}, the manifest {list(entry.classes)}", _FIX
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise on a damaged or foreign file
        reason = f"Keras {keras.__version__} cannot load '{entry.file}' ({type(error).__name__}: {_first_line(error)})"
        raise ModelUnusable(entry.name, reason, "Copy the file again or export it anew with Keras 3.") from error
    channels = _checked_channels(entry, network)
    size = entry.input_size[0]
    graph = tf.function(
        lambda images: network(images, training=False),
        input_signature=[tf.TensorSpec((None, size, size, channels), tf.float32)],
    )

    def forward(images: FloatArray) -> FloatArray:
        return np.asarray(graph(tf.constant(images)).numpy(), np.float32)

    _probe(entry, forward, (size, size, channels))
    return KerasSliceClassifier(entry, forward, channels)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _checked_channels(entry: ManifestEntry, network: Any) -> int:
    if len(entry.input_size) != 1:
        raise ModelUnusable(entry.name, f"input_size {list(entry.input_size)} is no side of a square slice", _FIX)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        found = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise ModelUnusable(entry.name, f"its network has {found}, not one of each", _FIX)
    size = entry.input_size[0]
    shape = tuple(network.inputs[0].shape)
    sides_fit = len(shape) == 4 and all(side in (None, size) for side in shape[1:3])
    if not sides_fit or shape[3] not in (1, 3):
        raise ModelUnusable(
            entry.name, f"its network takes {shape}, not (n, {size}, {size}, 1 or 3) as the manifest says", _FIX
        )
    answers = tuple(network.outputs[0].shape)
    if len(answers) != 2 or (answers[1] != len(entry.classes) and (answers[1], len(entry.classes)) != (1, 2)):
        raise ModelUnusable(
            entry.name, f"its network gives {answers}, but the manifest names {len(entry.classes)} classes", _FIX
        )
    return int(shape[3])


def _probe(entry: ManifestEntry, forward: Callable[[FloatArray], FloatArray], shape: tuple[int, int, int]) -> None:
    ramp = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    low, high = entry.input_range
    images = (np.stack([ramp, ramp[::-1]]) * (high - low) + low).astype(np.float32)
    answers = _columns(forward(images))
    if not np.isfinite(answers).all():
        raise ModelUnusable(entry.name, "its answer to a probe picture is not finite", "Export the model anew.")
    if answers.min() < -1e-4 or np.abs(answers.sum(1) - 1).max() > 1e-2:
        raise ModelUnusable(
            entry.name,
            "its answers to a probe picture are no probabilities that sum to 1",
            "Export the model with its softmax (or sigmoid) as the last layer.",
        )
