"""Which places of a slice speak for a class: by Grad-CAM where the network is a Keras file, by occlusion of any other.

Run off the critical path, after the results have been sent; it changes no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline.errors import PipelineError
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import SliceClassifier
from pipeline.models.resnet50_attention import keras_attention_apart
from pipeline.report import ModelIdentity
from pipeline.volume import FloatArray

GRAD_CAM = "Grad-CAM"
OCCLUSION = "occlusion"
#: Squares hidden one after the other: their side and their distance, as shares of the picture's side.
_PATCH, _STEP = 1 / 7, 1 / 14
_KERAS_FORMATS = ("keras", "keras-h5")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attention:
    """heat: float32 (size, size) on the slice, 0..1, 1 where most speaks for the class; all 0 where nothing does.

    method: `GRAD_CAM` or `OCCLUSION`.
    """

    heat: FloatArray
    method: str


def attention(model: SliceClassifier, picture: FloatArray, class_name: str, folder: Path) -> Attention:
    """What in `picture` speaks for `class_name`.

    picture: (size, size) as `model` reads it. folder: the models folder, where the Keras files of the model (or of the
    members of an ensemble) are looked up by their hashes.

    Raises:
        ValueError: the model knows no such class.
    """
    if class_name not in model.classes:
        raise ValueError(f"model '{model.identity.name}' has no class '{class_name}'")
    try:
        entries = _keras_entries(model.identity, folder)
        heats = [keras_attention_apart(entry, folder, picture, class_name) for entry in entries]
    except (PipelineError, OSError):
        heats = []
    if heats:
        return Attention(
            heat=_scaled(np.mean([_scaled(_on_slice(h, len(picture))) for h in heats], 0)), method=GRAD_CAM
        )
    return Attention(heat=_scaled(occlusion(model, picture, class_name)), method=OCCLUSION)


def occlusion(model: SliceClassifier, picture: FloatArray, class_name: str) -> FloatArray:
    """(size, size): by how much the log-odds of the class fall where a square is hidden; 0 where they do not.

    A hidden square is black, as the air around the head is, which the models know. One prediction for each square, of
    which there are 169.
    """
    size = len(picture)
    patch, step = max(round(size * _PATCH), 1), max(round(size * _STEP), 1)
    starts = range(0, size - patch + 1, step)
    corners = [(row, column) for row in starts for column in starts]
    hidden = np.repeat(picture[None], len(corners) + 1, axis=0)
    for one, (row, column) in zip(hidden[1:], corners, strict=True):
        one[row : row + patch, column : column + patch] = 0
    probability = model.predict(hidden)[:, model.classes.index(class_name)].astype(np.float64)
    odds = np.log(np.clip(probability, 1e-6, 1 - 1e-6) / (1 - np.clip(probability, 1e-6, 1 - 1e-6)))
    total, covered = np.zeros((size, size)), np.zeros((size, size))
    for fall, (row, column) in zip(np.maximum(odds[0] - odds[1:], 0), corners, strict=True):
        total[row : row + patch, column : column + patch] += fall
        covered[row : row + patch, column : column + patch] += 1
    return np.asarray(total / np.maximum(covered, 1), np.float32)


def _keras_entries(identity: ModelIdentity, folder: Path) -> list[ManifestEntry]:
    """The manifest's entries of every part of a model; none unless all are Keras files."""
    wanted = {part.weights_sha256 for part in identity.parts}
    found = {
        str(values.get("sha256", "")).lower(): values
        for values in read_manifest(folder)
        if values.get("format") in _KERAS_FORMATS
    }
    return [ManifestEntry.from_json(found[sha256]) for sha256 in sorted(wanted)] if wanted <= set(found) else []


def _on_slice(heat: FloatArray, size: int) -> FloatArray:
    """(h, w) stretched to (size, size)."""
    zoom = (size / heat.shape[0], size / heat.shape[1])
    stretched: FloatArray = ndimage.zoom(heat, zoom, order=1, mode="nearest", grid_mode=True)
    return stretched


def _scaled(heat: FloatArray) -> FloatArray:
    highest = float(heat.max())
    return np.asarray(heat / highest if highest > 0 else heat, np.float32)
