"""From slices to the study: the threshold of the study's probability, chosen on whole validation stacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis import SLICE_COUNT
from pipeline.models.protocols import SliceClassifier
from pipeline.models.training.slice_data import read_packed_case
from pipeline.slices import LEAST_BRAIN_SHARE, model_slice
from pipeline.study_findings import HIGHEST_SLICES


@dataclass(frozen=True, kw_only=True)
class StudyThreshold:
    """threshold, the share of whole stacks at or above it (sensitivity) and of clear parts below it (specificity)."""

    threshold: float
    sensitivity: float
    specificity: float
    stacks: int


def study_scores(model: SliceClassifier, folders: list[Path]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The study's probability, by the rule of `pipeline.study_findings`, of whole stacks and of their clear parts.

    Each folder is a packed axial stack with an outlined tumour ('wt'); its clear part are the slices at least two away
    from it, standing in for a study without tumour. Stacks with fewer clear slices than the rule reads are passed over.
    """
    whole, clear = [], []
    for folder in folders:
        case = read_packed_case(folder)
        stack = case["t1ce" if "t1ce" in case else "flair"].astype(np.float64).transpose(2, 0, 1)
        tissue = np.count_nonzero(stack > 20, axis=(1, 2))
        worth = np.flatnonzero(tissue >= LEAST_BRAIN_SHARE * tissue.max())
        count = min(SLICE_COUNT, len(worth))
        chosen = worth[((np.arange(count) + 0.5) / count * len(worth)).astype(int)]
        near = np.convolve(case["wt"].any(axis=(0, 1)), np.ones(5), mode="same") > 0
        tumour = model.predict(np.stack([model_slice(stack[k], model.input_size) for k in chosen]))[:, 1]
        away = tumour[~near[chosen]]
        if len(away) >= HIGHEST_SLICES:
            whole.append(np.sort(tumour)[-HIGHEST_SLICES:].mean())
            clear.append(np.sort(away)[-HIGHEST_SLICES:].mean())
    return np.array(whole, np.float64), np.array(clear, np.float64)


def choose_threshold(whole: NDArray[np.float64], clear: NDArray[np.float64]) -> StudyThreshold:
    """The threshold with the best mean of sensitivity and specificity, midway between neighbouring scores."""
    values = np.unique(np.concatenate([whole, clear, [0.0, 1.0]]))
    middles = (values[:-1] + values[1:]) / 2
    balance = np.array([(whole >= t).mean() + (clear < t).mean() for t in middles])
    # Of equals the lowest: a missed tumour is worse than a false alarm.
    best = float(round(middles[int(np.argmax(balance))], 3))
    return StudyThreshold(
        threshold=best,
        sensitivity=float((whole >= best).mean()),
        specificity=float((clear < best).mean()),
        stacks=len(whole),
    )
