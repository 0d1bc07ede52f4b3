"""Can the source of a picture be read from what the network makes of it? A linear probe, by patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
RIDGE = 10.0


def probe_accuracy(features: NDArray[np.floating], source: NDArray[np.str_], patient: NDArray[np.str_]) -> float:
    """Mean recall over the sources of a ridge classifier that predicts `source` (n,) from `features` (n, f).

    Each fifth of the patients is answered by a probe fitted to the others; with k sources, chance gives 1 / k.
    """
    names, label = np.unique(source, return_inverse=True)
    _, who = np.unique(patient, return_inverse=True)
    fold = np.random.default_rng(0).permutation(who.max() + 1)[who] % FOLDS
    answer = np.zeros(len(label), int)
    for held in range(FOLDS):
        train = fold != held
        if train.all() or not train.any():
            continue
        middle, spread = features[train].mean(0), features[train].std(0) + 1e-6
        x = np.hstack([(features - middle) / spread, np.ones((len(features), 1))])
        target = np.eye(len(names))[label]
        # Every source weighs the same in the fit, as it does in the score.
        weight = 1 / np.maximum(np.bincount(label[train], minlength=len(names)), 1)[label[train]]
        gram = (x[train] * weight[:, None]).T @ x[train]
        ridge = RIDGE * np.trace(gram) / len(gram) / len(names)
        fitted = np.linalg.solve(gram + ridge * np.eye(len(gram)), (x[train] * weight[:, None]).T @ target[train])
        answer[~train] = (x[~train] @ fitted).argmax(1)
    return float(np.mean([(answer[label == n] == n).mean() for n in range(len(names))]))
