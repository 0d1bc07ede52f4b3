"""Figures of merit of classifiers, in numpy: AUC with its interval, calibration error, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

BOOTSTRAP_ROUNDS = 1000


def auc(truth: NDArray[Any], score: NDArray[Any]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    truth: (n,) 0 or 1. score: (n,). NaN where one of the two classes is absent.
    """
    positive = np.asarray(truth, bool)
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    ranks = rankdata(np.asarray(score, np.float64))
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def auc_interval(
    truth: NDArray[Any], score: NDArray[Any], groups: Sequence[str], *, seed: int = 1, rounds: int = BOOTSTRAP_ROUNDS
) -> tuple[float, float]:
    """95 % interval of the AUC by drawing whole groups (patients) with replacement; NaN where no draw has both classes.

    groups: (n,) name of the patient of each slice; slices of one patient are drawn together.
    """
    names, group = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(len(names))]
    rng = np.random.default_rng(seed)
    truth, score = np.asarray(truth), np.asarray(score)
    values = []
    for _ in range(rounds):
        drawn = np.concatenate([members[g] for g in rng.integers(len(names), size=len(names))])
        value = auc(truth[drawn], score[drawn])
        if np.isfinite(value):
            values.append(value)
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def expected_calibration_error(correct: NDArray[Any], confidence: NDArray[Any], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over `bins` equal bins of confidence, weighted by their size.

    correct: (n,) whether the answer was right. confidence: (n,) probability of the answer given. NaN for n = 0.
    """
    correct, confidence = np.asarray(correct, np.float64), np.asarray(confidence, np.float64)
    if len(correct) == 0:
        return float("nan")
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = 0.0
    for b in np.unique(bin_of):
        inside = bin_of == b
        gap += inside.sum() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(gap / len(correct))


def confusion_matrix(truth: NDArray[Any], answer: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts; row: true class, column: answer."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, int), np.asarray(answer, int)), 1)
    return matrix


def recall_per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,) share of each true class that was answered so; NaN for a class without cases."""
    total = matrix.sum(1)
    return np.where(total > 0, np.diag(matrix) / np.maximum(total, 1), np.nan)


def with_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """(n, classes) probabilities after dividing their logits by `temperature`; rows sum to 1."""
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, 1.0)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def fit_temperature(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """The temperature in 0.25..4 that makes (n, classes) probabilities most likely given truth (n,) class indices."""
    truth = np.asarray(truth, int)
    rows = np.arange(len(truth))
    candidates = np.geomspace(0.25, 4.0, 161)
    losses = [-np.log(with_temperature(probabilities, t)[rows, truth] + 1e-12).mean() for t in candidates]
    return float(candidates[int(np.argmin(losses))])
