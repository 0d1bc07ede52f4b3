"""The part that classifiers of slices share, whatever framework runs the network: input, output, checks, probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.classifier_outputs import class_probabilities, columns_fit, output_fault
from pipeline.models.manifest import ManifestEntry
from pipeline.report import ModelIdentity
from pipeline.volume import FloatArray, SeriesRole

BATCH = 8
_FIX = "Use the file this entry was written for, or correct the entry in manifest.json."


@dataclass(frozen=True, kw_only=True)
class SliceNetwork:
    """A loaded network as a function of arrays.

    forward: (n, *input_shape) float32 to (n, *output_shape) float32, n up to `BATCH`. The shapes are without n; None
    where the file leaves a side open. detail: what runs it, for the health page.
    """

    forward: Callable[[FloatArray], FloatArray]
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    detail: str


class NetworkSliceClassifier:
    """A network that reads slices as its manifest entry says. Made by `as_classifier`; fits `SliceClassifier`."""

    def __init__(self, entry: ManifestEntry, network: SliceNetwork, channels: int) -> None:
        self._entry = entry
        self._network = network
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

    @property
    def runtime_detail(self) -> str:
        """What runs the network, and why not what the manifest asks for where that is so."""
        return self._network.detail

    def predict(self, slices: FloatArray) -> FloatArray:
        """slices (n, size, size) in 0..1 to (n, classes) calibrated probabilities, rows summing to 1.

        Raises:
            ValueError: the slices are not (n, size, size).
        """
        size = self.input_size
        if slices.ndim != 3 or slices.shape[1:] != (size, size):
            raise ValueError(f"slices must be (n, {size}, {size}), not {slices.shape}")
        if not len(slices):
            return np.zeros((0, len(self.classes)), np.float32)
        return class_probabilities(self.answers(slices), self._entry)

    def answers(self, slices: FloatArray) -> FloatArray:
        """slices (n, size, size) in 0..1, n above 0, to the (n, columns) that the file's last layer gives."""
        entry = self._entry
        low, high = entry.input_range
        grey = (slices * (high - low) + low).astype(np.float32)[..., None]
        images: FloatArray = np.repeat(grey, self._channels, axis=-1)
        if entry.mean:
            images = ((images - np.array(entry.mean)) / np.array(entry.std)).astype(np.float32)
        if entry.layout == "NCHW":
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return np.concatenate([self._network.forward(images[n : n + BATCH]) for n in range(0, len(images), BATCH)])


def as_classifier(entry: ManifestEntry, network: SliceNetwork) -> NetworkSliceClassifier:
    """The classifier of a network that fits its entry, tried once with probe pictures.

    Raises:
        ModelUnusable: another input shape, number of channels or of classes than the entry says, or the probe's answers
            are not what its `outputs` says.
    """
    if len(entry.input_size) != 1:
        raise ModelUnusable(entry.name, f"input_size {list(entry.input_size)} is no side of a square slice", _FIX)
    if entry.outputs == "labels":
        raise ModelUnusable(entry.name, "its outputs are 'labels', which only a segmenter gives", _FIX)
    columns = network.output_shape
    if len(columns) != 1 or (columns[0] is not None and not columns_fit(entry, columns[0])):
        reason = f"its network gives {_shown(columns)}, but the manifest names {len(entry.own_classes)} classes"
        raise ModelUnusable(entry.name, reason, _FIX)
    classifier = NetworkSliceClassifier(entry, network, _checked_channels(entry, network.input_shape))
    answers = classifier.answers(probe_slices(entry.input_size[0]))
    if answers.ndim != 2 or not columns_fit(entry, answers.shape[1]):
        reason = f"its network gives {answers.shape} for two slices of {len(entry.own_classes)} classes"
        raise ModelUnusable(entry.name, reason, _FIX)
    fault = output_fault(answers, entry.outputs)
    if fault is not None:
        raise ModelUnusable(entry.name, *fault)
    return classifier


def probe_slices(size: int) -> FloatArray:
    """(2, size, size) in 0..1: a ramp and the same ramp upside down."""
    ramp = np.linspace(0, 1, size * size, dtype=np.float32).reshape(size, size)
    return np.stack([ramp, ramp[::-1]])


def _checked_channels(entry: ManifestEntry, shape: tuple[int | None, ...]) -> int:
    size = entry.input_size[0]
    wanted = {"NHWC": f"(n, {size}, {size}, 1 or 3)", "NCHW": f"(n, 1 or 3, {size}, {size})"}[entry.layout]
    mismatch = f"its network takes {_shown(shape)}, not {wanted} as the manifest says"
    if len(shape) != 3:
        raise ModelUnusable(entry.name, mismatch, _FIX)
    channels, sides = (shape[2], shape[:2]) if entry.layout == "NHWC" else (shape[0], shape[1:])
    if not all(side in (None, size) for side in sides) or channels not in (None, 1, 3):
        raise ModelUnusable(entry.name, mismatch, _FIX)
    found = channels or (3 if entry.channel_order == "rgb" else 1)
    if entry.channel_order == "rgb" and found != 3:
        raise ModelUnusable(entry.name, f"its network takes {found} channel, its channel_order is 'rgb'", _FIX)
    if len(entry.mean) not in (0, 1, found):
        raise ModelUnusable(entry.name, f"its mean has {len(entry.mean)} values for {found} channels", _FIX)
    return found


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join(str(side) for side in (None, *shape))})"
