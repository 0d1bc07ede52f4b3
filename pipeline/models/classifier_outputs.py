"""From what a classifier's last layer gives to calibrated probabilities of the node's classes."""

from __future__ import annotations

import numpy as np

from pipeline.models.manifest import ManifestEntry
from pipeline.volume import FloatArray


def columns_fit(entry: ManifestEntry, columns: int) -> bool:
    """Whether so many output columns can hold the file's classes: one each, or one sigmoid (or its logit) for two."""
    classes = len(entry.own_classes)
    return columns == classes or (columns == 1 and classes == 2 and entry.outputs != "softmax")


def class_probabilities(raw: FloatArray, entry: ManifestEntry) -> FloatArray:
    """raw: (n, columns) as the file gives them. Returns (n, classes) in the order of `entry.classes`, rows sum to 1.

    One column is the second class's. The temperature divides the logits; the file's classes that count as one of ours
    are added up after it.
    """
    values = raw.astype(np.float64)
    if entry.outputs == "logits":
        logits = np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else values
    else:
        shares = np.concatenate([1 - values, values], axis=1) if values.shape[1] == 1 else values
        logits = np.log(np.clip(shares, 1e-12, 1.0))
    scaled = logits / entry.temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    own = powers / powers.sum(axis=1, keepdims=True)
    counts_as = np.array([[name == mapped for name in entry.classes] for mapped in entry.mapped_classes], np.float64)
    probabilities: FloatArray = (own @ counts_as).astype(np.float32)
    return probabilities


def output_fault(raw: FloatArray, outputs: str) -> tuple[str, str] | None:
    """What is wrong with answers to a probe, held against what the manifest says they are, and the remedy; or None."""
    if not np.isfinite(raw).all():
        return "its answer to a probe picture is not finite", "Export the model anew."
    one_column = raw.shape[1] == 1
    in_range = bool(raw.min() >= -1e-4 and raw.max() <= 1 + 1e-4)
    sums_to_one = bool(np.abs(raw.sum(axis=1) - 1).max() <= 1e-2)
    if outputs == "logits":
        if in_range and sums_to_one and not one_column:
            reason = "its answers to a probe picture are probabilities, the manifest says logits"
            return reason, "Correct 'outputs' in manifest.json."
        return None
    needs_sum = not one_column and outputs != "sigmoid"
    if not in_range or (needs_sum and not sums_to_one):
        reason = f"its answers to a probe picture are no probabilities{' that sum to 1' if needs_sum else ''}"
        return (
            reason,
            "Say in manifest.json what they are ('outputs': 'logits' or 'sigmoid'), or export the model anew.",
        )
    return None
