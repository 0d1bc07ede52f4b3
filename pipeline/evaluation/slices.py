"""Acceptance test of the 2D models on labelled pictures: figures overall, per dataset and per patient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidVolume
from pipeline.evaluation.classification_metrics import (
    auc,
    auc_interval,
    confusion_matrix,
    expected_calibration_error,
    recall_per_class,
)
from pipeline.evaluation.slice_images import NO_TUMOUR, UNSPECIFIED_TUMOUR, LabelledImage, labelled_images, read_grey
from pipeline.models.protocols import Progress, SliceClassifier, no_progress
from pipeline.slices import model_slice

#: Pictures prepared and read by the models at a time.
CHUNK = 32
#: Probability from which one slice counts as tumour. A model's own threshold is for the aggregate of a study.
SLICE_THRESHOLD = 0.5


def evaluate_slices(
    folder: Path,
    detector: SliceClassifier | None,
    type_classifier: SliceClassifier | None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Read every labelled picture of `folder` (see `slice_images.labelled_images`) with both models.

    Pictures are prepared as slices of a study are (`pipeline.slices`). A model that is None leaves its part out. The
    dict is ready for JSON: figures that cannot be computed are None.

    Raises:
        FileNotFoundError: the folder holds no class folders with pictures.
    """
    images = labelled_images(folder)
    kept: list[LabelledImage] = []
    unreadable: list[str] = []
    models = {model.identity.task: model for model in (detector, type_classifier) if model is not None}
    answers: dict[str, list[NDArray[np.float32]]] = {task: [] for task in models}
    for start in range(0, len(images), CHUNK):
        pictures = []
        for image in images[start : start + CHUNK]:
            try:
                grey = read_grey(image.path)
                pictures.append({model.input_size: model_slice(grey, model.input_size) for model in models.values()})
                kept.append(image)
            except (OSError, InvalidVolume):
                unreadable.append(image.path.relative_to(folder).as_posix())
        for task, model in models.items():
            if pictures:
                answers[task].append(model.predict(np.stack([sizes[model.input_size] for sizes in pictures])))
        progress(min(1.0, (start + CHUNK) / len(images)))
    read = {task: np.concatenate(parts) for task, parts in answers.items() if parts}
    figures = summarise(
        [image.label for image in kept],
        [image.dataset for image in kept],
        [image.patient for image in kept],
        detection=read["detection"][:, 1] if "detection" in read else None,
        kinds=read.get("type"),
        kind_classes=type_classifier.classes if type_classifier else (),
    )
    identities = {task: vars(model.identity) for task, model in models.items()}
    return {"slices": len(kept), "unreadable": unreadable, "models": identities, **figures}


def summarise(
    labels: Sequence[str],
    datasets: Sequence[str],
    patients: Sequence[str],
    *,
    detection: NDArray[Any] | None,
    kinds: NDArray[Any] | None,
    kind_classes: Sequence[str],
) -> dict[str, Any]:
    """The figures of answers already given; all sequences have one item a slice.

    detection: (n,) probability of tumour. kinds: (n, classes) probabilities in the order of `kind_classes`. Returns
    {'detection': ..., 'type': ...}, each with 'overall' and 'per_dataset', 'type' also with 'per_patient'.
    """
    label, dataset, patient = (np.asarray(one, dtype=np.str_) for one in (labels, datasets, patients))
    figures: dict[str, Any] = {}
    if detection is not None:
        tumour = label != NO_TUMOUR
        figures["detection"] = _split(
            dataset, lambda rows: _detection(tumour[rows], detection[rows], patient[rows])
        ) | {"threshold": SLICE_THRESHOLD}
    if kinds is not None:
        known = np.flatnonzero(np.isin(label, list(kind_classes)))
        truth = np.array([list(kind_classes).index(name) for name in label[known]], int)
        answers = kinds[known]
        figures["type"] = _split(dataset[known], lambda rows: _kinds(truth[rows], answers[rows], kind_classes)) | {
            "per_patient": _patients(truth, answers, patient[known], kind_classes)
        }
    plain: dict[str, Any] = _plain(figures)
    return plain


def _split(dataset: NDArray[np.str_], figures: Callable[[NDArray[np.intp]], dict[str, Any]]) -> dict[str, Any]:
    everything = np.arange(len(dataset))
    names = sorted(set(dataset.tolist()))
    return {
        "overall": figures(everything),
        "per_dataset": {name: figures(np.flatnonzero(dataset == name)) for name in names},
    }


def _detection(tumour: NDArray[np.bool_], probability: NDArray[Any], patient: NDArray[np.str_]) -> dict[str, Any]:
    answer = probability >= SLICE_THRESHOLD
    matrix = confusion_matrix(tumour, answer, 2)
    specificity, sensitivity = recall_per_class(matrix)
    return {
        "slices": len(tumour),
        "patients": len(set(patient.tolist())),
        "accuracy": (answer == tumour).mean() if len(tumour) else float("nan"),
        "auc": auc(tumour, probability),
        "auc_ci95": list(auc_interval(tumour, probability, patient.tolist())),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ece": expected_calibration_error(answer == tumour, np.where(answer, probability, 1 - probability)),
        "confusion": {"classes": [NO_TUMOUR, "tumor"], "matrix": matrix.tolist()},
    }


def _kinds(truth: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    answer = probabilities.argmax(1)
    matrix = confusion_matrix(truth, answer, len(classes))
    return {
        "slices": len(truth),
        "accuracy": (answer == truth).mean() if len(truth) else float("nan"),
        "recall": dict(zip(classes, recall_per_class(matrix), strict=True)),
        "ece": expected_calibration_error(answer == truth, probabilities.max(1, initial=0)),
        "confusion": {"classes": list(classes), "matrix": matrix.tolist()},
    }


def _patients(
    truth: NDArray[Any], probabilities: NDArray[Any], patient: NDArray[np.str_], classes: Sequence[str]
) -> dict[str, Any]:
    """One answer a patient: the tumour kind with the highest mean probability over the patient's tumour slices."""
    tumours = [n for n, name in enumerate(classes) if name not in (NO_TUMOUR, UNSPECIFIED_TUMOUR)]
    names = [classes[n] for n in tumours]
    truths, answers = [], []
    for name in sorted(set(patient.tolist())):
        for n, kind in enumerate(tumours):
            rows = (patient == name) & (truth == kind)
            if rows.any():
                truths.append(n)
                answers.append(int(probabilities[rows][:, tumours].mean(0).argmax()))
    matrix = confusion_matrix(np.array(truths, int), np.array(answers, int), len(names))
    return {
        "patients": len(truths),
        "accuracy": np.trace(matrix) / len(truths) if truths else float("nan"),
        "recall": dict(zip(names, recall_per_class(matrix), strict=True)),
        "confusion": {"classes": names, "matrix": matrix.tolist()},
    }


def _plain(value: Any) -> Any:
    """Python's own numbers, four decimals, None for what is not a number: as JSON wants it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
