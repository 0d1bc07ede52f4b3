"""A segmenter judged on labelled volumes: one folder a case, Dice, HD95 and volume error for each region."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.case_files import case_folders, find_case_files
from pipeline.errors import InvalidVolume, PipelineError
from pipeline.evaluation.segmentation_metrics import RegionScore, score_region
from pipeline.geometry import resample_array
from pipeline.models.protocols import Progress, no_progress
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.report import REGION_LABELS, Region, Segmentation, SkipCode, Skipped
from pipeline.volume import Grid, SeriesRole, Volume

SegmentCase = Callable[[Mapping[SeriesRole, Volume]], Segmentation | Skipped]

#: Reasons to skip that are an answer, 'nothing there', and are scored as an empty segmentation.
_EMPTY_ANSWERS = (SkipCode.NO_TUMOUR_DETECTED, SkipCode.NOTHING_SEGMENTED)


def brats_labels(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Labels 0, 1, 2, 4 of any BraTS edition: 0/1/2/3 without a 4 (2023) has 3 as enhancing; with one (2013) as core.

    Raises:
        InvalidVolume: a value is none of 0 to 4.
    """
    seen = set(np.unique(values).tolist())
    if not seen <= {0, 1, 2, 3, 4}:
        raise InvalidVolume(f"labels must be 0, 1, 2, 4 or 0, 1, 2, 3 as BraTS writes them, found {sorted(seen)}")
    three = 1 if 4 in seen else 4
    return np.where(values == 3, three, values).astype(np.uint8)


def score_case(answer: Segmentation | None, truth: NDArray[np.uint8], grid: Grid) -> dict[Region, RegionScore]:
    """Each region's figures on the truth's own grid; `answer` None is an empty one.

    truth: BraTS labels (I, J, K) on `grid`.
    """
    if answer is None:
        labels = np.zeros(grid.shape, np.uint8)
    else:
        labels = resample_array(answer.labels, answer.grid, grid, order="nearest")
    return {
        region: score_region(
            np.isin(labels, REGION_LABELS[region]),
            np.isin(truth, REGION_LABELS[region]),
            grid.spacing_mm,
            grid.voxel_volume_ml,
        )
        for region in Region
    }


def evaluate_volumes(folder: Path, segment_case: SegmentCase, progress: Progress = no_progress) -> dict[str, Any]:
    """Runs `segment_case` on every case below `folder` and compares with the case's own labels. JSON-ready.

    A case that cannot be read or has no labels is listed with its reason and leaves the means alone; so is one that the
    segmenter skipped, unless it said that nothing is there: that is scored as an empty answer.

    Raises:
        CaseFilesAmbiguous: there is no case below `folder`.
    """
    rows: list[dict[str, Any]] = []
    folders = case_folders(folder)
    for number, case in enumerate(folders, start=1):
        rows.append(_evaluate_case(case, segment_case))
        progress(number / len(folders))
    return {"kind": "volumes", "cases": rows, "mean": {region.value: _mean(rows, region) for region in Region}}


def _evaluate_case(folder: Path, segment_case: SegmentCase) -> dict[str, Any]:
    row: dict[str, Any] = {"case": folder.name, "roles": [], "regions": None, "not_scored": None, "answer": None}
    started = time.monotonic()
    try:
        files = find_case_files(folder)
        row["roles"] = [role.value for role in files.images]
        if files.labels is None:
            row["not_scored"] = "no label map (a file whose name ends in _seg)"
            return row
        values, grid = load_nifti_labels(files.labels)
        truth = brats_labels(values)
        answer = segment_case({role: load_nifti_volume(path) for role, path in files.images.items()})
        if isinstance(answer, Skipped):
            row["answer"] = answer.reason
            if answer.code not in _EMPTY_ANSWERS:
                row["not_scored"] = answer.reason
                return row
        scores = score_case(None if isinstance(answer, Skipped) else answer, truth, grid)
    except PipelineError as error:
        row["not_scored"] = str(error)
        return row
    row["seconds"] = round(time.monotonic() - started, 2)
    row["regions"] = {region.value: asdict(score) for region, score in scores.items()}
    return row


def _mean(rows: Sequence[Mapping[str, Any]], region: Region) -> dict[str, float | int | None]:
    scores = [row["regions"][region.value] for row in rows if row["regions"] is not None]
    present = [score for score in scores if score["dice"] is not None]
    distances = [score["hd95_mm"] for score in present if score["hd95_mm"] is not None]
    return {
        "cases": len(present),
        "dice": _average([score["dice"] for score in present]),
        "hd95_mm": _average(distances),
        "hd95_undefined": len(present) - len(distances),
        "volume_error_ml": _average([abs(score["volume_error_ml"]) for score in present]),
        "volume_error_percent": _average([abs(score["volume_error_percent"]) for score in present]),
        "cases_without": len(scores) - len(present),
        "false_volume_ml": _average([score["false_volume_ml"] for score in scores if score["dice"] is None]),
    }


def _average(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
