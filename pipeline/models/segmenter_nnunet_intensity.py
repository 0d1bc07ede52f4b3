"""nnU-Net's intensity normalisation schemes, and which of them need the intensities as scanned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry
from pipeline.models.segmenter_nnunet_plans import NnUNetPlans
from pipeline.volume import FloatArray

_WHOLE = "Copy the results folder again, whole, from where nnU-Net wrote it"


def normaliser(entry: ManifestEntry, plans: NnUNetPlans) -> tuple[str, Callable[[FloatArray], FloatArray] | None]:
    """What the segmenter is to be given ('brain-zscore', 'brain' or 'head') and what is still to be done to it.

    Z-scores inside the mask are what the node makes by itself. All else needs the intensities as scanned: of the head,
    or, where the entry's `intensities` is 'brain', of the brain alone.

    Raises:
        ModelUnusable: a scheme that this node does not know, or one without its statistics.
    """
    if all(scheme == ("ZScoreNormalization", True) for scheme in plans.schemes):
        return "brain-zscore", None
    for (scheme, _), statistics in zip(plans.schemes, plans.intensity, strict=True):
        if scheme not in _SCHEMES:
            reason = f"its plans normalise by {scheme}, not by one of {', '.join(_SCHEMES)}"
            raise ModelUnusable(entry.name, reason, "Convert the model to TorchScript or ONNX with that step inside")
        if scheme == "CTNormalization" and _CT_KEYS - set(statistics):
            raise ModelUnusable(entry.name, "its plans lack the intensity statistics of CTNormalization", _WHOLE)

    def normalise(image: FloatArray) -> FloatArray:
        inside = np.any(image != 0, axis=0)
        done = [
            _SCHEMES[scheme](channel, inside if masked else None, statistics)
            for channel, (scheme, masked), statistics in zip(image, plans.schemes, plans.intensity, strict=True)
        ]
        return np.stack(done).astype(np.float32)

    return ("brain" if entry.intensities == "brain" else "head"), normalise


def _zscore(channel: FloatArray, mask: Any, statistics: Mapping[str, float]) -> FloatArray:
    where = np.ones(channel.shape, np.bool_) if mask is None else mask
    values = channel[where].astype(np.float64)
    spread = max(float(values.std()), 1e-8) if values.size else 1.0
    return np.where(where, (channel - (values.mean() if values.size else 0.0)) / spread, channel)


def _ct(channel: FloatArray, mask: Any, statistics: Mapping[str, float]) -> FloatArray:
    clipped = np.clip(channel, statistics["percentile_00_5"], statistics["percentile_99_5"])
    scaled: FloatArray = (clipped - statistics["mean"]) / max(statistics["std"], 1e-8)
    return scaled


def _rescale(channel: FloatArray, mask: Any, statistics: Mapping[str, float]) -> FloatArray:
    scaled: FloatArray = (channel - channel.min()) / max(float(np.ptp(channel)), 1e-8)
    return scaled


_CT_KEYS = {"mean", "std", "percentile_00_5", "percentile_99_5"}
_SCHEMES: Mapping[str, Callable[[FloatArray, Any, Mapping[str, float]], FloatArray]] = {
    "ZScoreNormalization": _zscore,
    "CTNormalization": _ct,
    "RescaleTo01Normalization": _rescale,
    "NoNormalization": lambda channel, mask, statistics: channel,
}
