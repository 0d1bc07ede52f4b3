"""From what a 2D model says of single slices to what is said of the study. Pure rules, stated in `Finding.basis`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.models.protocols import SliceClassifier
from pipeline.report import Finding, Stage
from pipeline.volume import FloatArray, SeriesRole

TUMOUR = "tumour"
NO_TUMOUR = "no tumour"
#: A tumour seen at all is seen on several of some 28 slices; single false alarms shall not call it.
HIGHEST_SLICES = 5


class UnusableAnswer(PipelineError):
    """A model answered with another shape than asked for, or with numbers that are no probabilities."""

    code = "unusable-answer"


def no_tumour_index(classes: Sequence[str]) -> int | None:
    """Which class means 'no tumour' ('notumor', 'no_tumour', 'No Tumor', 'normal'), or None."""
    for index, name in enumerate(classes):
        if "".join(c for c in name.lower() if c.isalpha()) in {"notumor", "notumour", "no", "normal", "negative"}:
            return index
    return None


def checked_probabilities(answer: FloatArray, slices: int, classes: int) -> NDArray[np.float64]:
    """The answer of a model, (slices, classes), rows rescaled to sum to exactly 1.

    Raises:
        UnusableAnswer: another shape, a number that is not finite or not in 0..1, a row that does not sum to 1.
    """
    answer = np.asarray(answer)
    if answer.shape != (slices, classes):
        raise UnusableAnswer(f"the model answered with shape {answer.shape} where {(slices, classes)} was due")
    sums = answer.sum(axis=1, keepdims=True)
    if not np.isfinite(answer).all() or answer.min() < -1e-3 or (abs(sums - 1) > 0.02).any():
        raise UnusableAnswer("the model's answer is not a set of probabilities that sum to 1")
    checked: NDArray[np.float64] = np.clip(answer, 0, 1) / sums
    return checked


def study_probability(tumour: NDArray[np.floating]) -> float:
    """From the probabilities of tumour of the slices, (n,), that of the study: the mean of the `HIGHEST_SLICES`
    highest, or of all where there are fewer."""
    return float(np.sort(tumour)[-HIGHEST_SLICES:].mean())


def detection_finding(
    model: SliceClassifier, role: SeriesRole, positions_mm: Sequence[float], probabilities: FloatArray
) -> Finding:
    """Tumour or none. probabilities: (n, classes) for slices at `positions_mm` (n,).

    The study's probability is that of `study_probability`.

    Raises:
        UnusableAnswer: see `checked_probabilities`.
    """
    checked = checked_probabilities(probabilities, len(positions_mm), len(model.classes))
    absent = no_tumour_index(model.classes)
    tumour = 1.0 - checked[:, absent] if absent is not None else checked[:, -1]
    probability = study_probability(tumour)
    found = probability >= model.threshold
    return Finding(
        stage=Stage.DETECT,
        value=TUMOUR if found else NO_TUMOUR,
        probability=probability if found else 1.0 - probability,
        probabilities={TUMOUR: probability, NO_TUMOUR: 1.0 - probability},
        basis=f"mean tumour probability of the {min(HIGHEST_SLICES, len(tumour))} highest of {len(tumour)} axial "
        f"{role} slices ({probability:.3f}) against a threshold of {model.threshold:.3f}",
        role=role,
        model=model.identity,
        slice_probabilities=tuple(
            (float(position), float(value)) for position, value in zip(positions_mm, tumour, strict=True)
        ),
    )


def type_finding(
    model: SliceClassifier,
    role: SeriesRole,
    positions_mm: Sequence[float],
    probabilities: FloatArray,
    detection: Finding,
) -> Finding:
    """The tumour's type: class probabilities (n, classes) averaged over slices, weighted by the detector's tumour
    probability at the same height.

    Raises:
        UnusableAnswer: see `checked_probabilities`.
    """
    checked = checked_probabilities(probabilities, len(positions_mm), len(model.classes))
    heights, tumour = np.array(sorted(detection.slice_probabilities)).T
    weights = np.interp(positions_mm, heights, tumour)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1.0 / len(weights))
    mean = weights @ checked
    best = int(np.argmax(mean))
    absent = no_tumour_index(model.classes)
    shown = 1.0 - checked[:, absent] if absent is not None else np.ones(len(checked))
    return Finding(
        stage=Stage.CLASSIFY,
        value=model.classes[best],
        probability=float(mean[best]),
        probabilities={name: float(value) for name, value in zip(model.classes, mean, strict=True)},
        basis=f"mean class probability over {len(checked)} axial {role} slices, "
        "weighted by each slice's tumour probability in detection",
        role=role,
        model=model.identity,
        slice_probabilities=tuple(
            (float(position), float(value)) for position, value in zip(positions_mm, shown, strict=True)
        ),
    )
