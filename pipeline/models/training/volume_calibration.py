"""Calibrating the segmenter's probabilities: one temperature for each region, folded into the last layer's weights.

Fitted on the validation cases, all of which count alike; how good it is, is told by leaving each case out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from pipeline.models.unet3d_network import UNet3d
from pipeline.report import Region

Floats = NDArray[np.float32]
Truth = NDArray[np.bool_]
_BINS = 15
_SMALLEST = 1e-6
#: Temperatures that are looked at.
_BOUNDS = (0.3, 5.0)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseVoxels:
    """The brain voxels of one case. probabilities: (3, n) before calibration. truth: (3, n), WT TC ET.

    near: (n,), voxels in or around the tumour, told or found; in the rest of a brain every model is well calibrated.
    """

    name: str
    probabilities: Floats
    truth: Truth
    near: NDArray[np.bool_]


def logits_of(probabilities: Floats) -> Floats:
    """The logits of probabilities, finite."""
    held = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    result: Floats = np.log(held / (1 - held))
    return result


def calibrated(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities with their logits divided by the temperature."""
    result: Floats = (1 / (1 + np.exp(-logits_of(probabilities) / temperature))).astype(np.float32)
    return result


def fit_temperature(cases: Sequence[CaseVoxels], region: int) -> float:
    """The temperature of least cross-entropy over the voxels near the tumour, every case counting alike."""
    pairs = [(logits_of(case.probabilities[region][case.near]), case.truth[region][case.near]) for case in cases]

    def total(log_temperature: float) -> float:
        return sum(_cross_entropy(logits / np.exp(log_temperature), truth) for logits, truth in pairs)

    low, high = np.log(_BOUNDS)
    found = optimize.minimize_scalar(total, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _cross_entropy(logits: Floats, truth: Truth) -> float:
    return float(np.logaddexp(0.0, np.where(truth, -logits, logits)).mean()) if logits.size else 0.0


def expected_calibration_error(probabilities: Floats, truth: Truth) -> float:
    """Mean distance of confidence and frequency over 15 equal bins, weighted by their counts; 0 for no voxel."""
    if not probabilities.size:
        return 0.0
    places = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(places, minlength=_BINS)
    confidence = np.bincount(places, weights=probabilities, minlength=_BINS)
    frequency = np.bincount(places, weights=truth, minlength=_BINS)
    return float(np.abs(confidence - frequency).sum() / counts.sum())


def calibration_figures(cases: Sequence[CaseVoxels]) -> dict[str, dict[str, object]]:
    """For each region: its temperature, cross-entropy and ECE before and after it, Dice by threshold.

    Near the tumour, and ECE in the whole brain too. What is after calibration is each case's under the temperature
    fitted without it.
    """
    figures: dict[str, dict[str, object]] = {}
    for number, region in enumerate(Region):
        before, after, brain = [], [], []
        surprise_before, surprise = [], []
        for case in cases:
            others = [other for other in cases if other is not case] or [case]
            raw, truth, near = case.probabilities[number], case.truth[number], case.near
            fair = calibrated(raw, fit_temperature(others, number))
            before.append(expected_calibration_error(raw[near], truth[near]))
            after.append(expected_calibration_error(fair[near], truth[near]))
            brain.append(expected_calibration_error(fair, truth))
            surprise_before.append(_cross_entropy(logits_of(raw[near]), truth[near]))
            surprise.append(_cross_entropy(logits_of(fair[near]), truth[near]))
        temperature = fit_temperature(cases, number)
        figures[region.value] = {
            "temperature": round(temperature, 3),
            "cross_entropy_before": round(float(np.mean(surprise_before)), 4),
            "cross_entropy": round(float(np.mean(surprise)), 4),
            "ece_before": round(float(np.mean(before)), 4),
            "ece": round(float(np.mean(after)), 4),
            "ece_brain": round(float(np.mean(brain)), 4),
            "dice_at": {str(cut): _mean_dice(cases, number, temperature, cut) for cut in THRESHOLDS},
        }
    return figures


def _mean_dice(cases: Sequence[CaseVoxels], region: int, temperature: float, cut: float) -> float | None:
    scores = []
    for case in cases:
        truth = case.truth[region]
        if truth.any():
            found = calibrated(case.probabilities[region], temperature) > cut
            scores.append(2 * float((found & truth).sum()) / float(found.sum() + truth.sum()))
    return round(float(np.mean(scores)), 3) if scores else None


def fold_temperatures(network: UNet3d, temperatures: Mapping[str, float]) -> None:
    """Divides the last layer's weights and biases, so that its logits come out calibrated."""
    scale = torch.tensor([1.0 / temperatures[region.value] for region in Region])
    with torch.no_grad():
        for values in network.heads[0].parameters():
            values.mul_(scale.reshape(-1, *(1,) * (values.ndim - 1)))
