"""Registering a segmenter's fastest faithful runtime: OpenVINO in f32, or in bf16 where labelled cases allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.case_files import case_folders, find_case_files
from pipeline.errors import ConversionFailed
from pipeline.evaluation.volumes import brats_labels, score_case
from pipeline.models.manifest import ManifestEntry
from pipeline.models.protocols import Segmenter, no_progress
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_conversion import converted_file, read_parity
from pipeline.models.segmenter_formats import open_segmenter
from pipeline.models.segmenter_loading import DICE_TOLERANCE, load_segmenter
from pipeline.models.segmenter_openvino import supports_bf16
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.preparation import prepare
from pipeline.report import Region
from pipeline.stages import region_probabilities, segmentation_of


def optimise_segmenter(
    entry: ManifestEntry, folder: Path, options: RuntimeOptions, cases: Path | None = None
) -> Mapping[str, Any]:
    """Convert the entry's network into the cache and return the manifest keys that make a node use it.

    cases: labelled NIfTI cases, as `evaluate volumes` reads them. With them every runtime segments each case, and one
    is used only where no region's mean Dice differs by more than `DICE_TOLERANCE` from the reference's; without them
    bf16 is not tried.

    Raises:
        ModelUnusable: the entry cannot be used at all.
        ConversionFailed: it cannot be converted, its answers differ from the reference's, or its Dice does.
    """
    with TemporaryDirectory() as temporary:
        usable = options if options.cache is not None else replace(options, cache=Path(temporary))
        usable = replace(usable, convert=True)
        parity = read_parity(converted_file(entry, folder, open_segmenter(entry, folder), usable))
        precision = "f32"
        if cases is not None:
            dice = _dice_by_runtime(entry, folder, usable, cases)
            differences = {name: _difference(dice["reference"], found) for name, found in dice.items()}
            if not differences["f32"] <= DICE_TOLERANCE:
                raise ConversionFailed(entry.name, f"by OpenVINO a mean Dice differs by {differences['f32']:.4f}")
            if differences.get("bf16", np.inf) <= DICE_TOLERANCE:
                precision = "bf16"
            parity |= {
                "dice": {name: _rounded(found) for name, found in dice.items()},
                "dice_difference": round(differences[precision], 5),
            }
    return {"runtime": "openvino", "runtime_precision": precision, "runtime_parity": parity}


def _dice_by_runtime(
    entry: ManifestEntry, folder: Path, options: RuntimeOptions, cases: Path
) -> dict[str, dict[Region, float]]:
    """Mean Dice by region of each way to run the network; a region that no case has is left out."""
    segmenters: dict[str, Segmenter] = {
        "reference": load_segmenter(replace(entry, runtime="reference"), folder, options),
        "f32": load_segmenter(replace(entry, runtime="openvino", runtime_precision="f32"), folder, options),
    }
    if supports_bf16():
        trusted = {"weights_sha256": entry.sha256, "dice_difference": 0.0}
        tried = replace(entry, runtime="openvino", runtime_precision="bf16", runtime_parity=trusted)
        segmenters["bf16"] = load_segmenter(tried, folder, options)
    scores: dict[str, dict[Region, list[float]]] = {name: {region: [] for region in Region} for name in segmenters}
    for case in case_folders(cases):
        files = find_case_files(case)
        if files.labels is None:
            continue
        values, grid = load_nifti_labels(files.labels)
        truth = brats_labels(values)
        study = prepare({role: load_nifti_volume(path) for role, path in files.images.items()}, no_progress)
        for name, segmenter in segmenters.items():
            answer = segmentation_of(*region_probabilities(segmenter, study, no_progress), study, segmenter.identity)
            for region, score in score_case(answer, truth, grid).items():
                if score.dice is not None:
                    scores[name][region].append(score.dice)
    means = {
        name: {region: float(np.mean(found)) for region, found in regions.items() if found}
        for name, regions in scores.items()
    }
    if not means["reference"]:
        raise ConversionFailed(entry.name, f"no case below {cases} has labels to compare by")
    return means


def _difference(reference: Mapping[Region, float], other: Mapping[Region, float]) -> float:
    return max(abs(other[region] - reference[region]) for region in reference)


def _rounded(dice: Mapping[Region, float]) -> dict[str, float]:
    return {region.value: round(value, 4) for region, value in dice.items()}
