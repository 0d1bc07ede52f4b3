"""One model on one prepared study: what `analysis` does for the report and `comparison` for the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.label_map import checked_regions, labels_on_grid
from pipeline.models.protocols import Progress, Segmenter, SliceClassifier, intensities_of
from pipeline.preparation import PreparedStudy
from pipeline.report import Finding, ModelIdentity, ReadSlice, Segmentation
from pipeline.slices import axial_slices
from pipeline.study_findings import detection_finding, type_finding
from pipeline.volume import FloatArray, Grid, SeriesRole

#: Axial slices read by a 2D model: one every 5 mm of a brain.
SLICE_COUNT = 28


def role_for(model: SliceClassifier, study: PreparedStudy) -> SeriesRole:
    """The first of the model's roles that is there. One must be: see `selection.missing_roles`."""
    return next(role for role in model.roles if role in study.volumes)


def detected(model: SliceClassifier, study: PreparedStudy) -> Finding:
    """Tumour or none. Raises UnusableAnswer, and whatever the model raises."""
    role = role_for(model, study)
    positions, slices = axial_slices(study.on_analysis_grid(role), study.brain, SLICE_COUNT, model.input_size)
    finding = detection_finding(model, role, positions.tolist(), model.predict(slices))
    return _with_telling(finding, positions.tolist(), slices, [tumour for _, tumour in finding.slice_probabilities])


def typed(model: SliceClassifier, study: PreparedStudy, detection: Finding) -> Finding:
    """The type of a detected tumour. Raises UnusableAnswer, and whatever the model raises."""
    role = role_for(model, study)
    positions, slices = axial_slices(study.on_analysis_grid(role), study.brain, SLICE_COUNT, model.input_size)
    finding = type_finding(model, role, positions.tolist(), model.predict(slices), detection)
    heights, tumour = np.array(sorted(detection.slice_probabilities)).T
    return _with_telling(finding, positions.tolist(), slices, np.interp(positions, heights, tumour).tolist())


def _with_telling(
    finding: Finding, positions_mm: Sequence[float], slices: FloatArray, tumour: Sequence[float]
) -> Finding:
    """The finding with the slice of the highest tumour probability in detection."""
    best = int(np.argmax(tumour))
    return replace(finding, telling=ReadSlice(pixels=slices[best].copy(), position_mm=float(positions_mm[best])))


def region_probabilities(model: Segmenter, study: PreparedStudy, progress: Progress) -> tuple[FloatArray, Grid]:
    """(3, I, J, K) probabilities of WT, TC, ET and the grid they lie on; a series that is not there is read as zeros.

    Raises UnusableAnswer, and whatever the model raises.
    """
    image, grid = study.channels(model.spacing_mm, intensities_of(model))
    return checked_regions(model.segment(image, grid, progress), grid), grid


def segmentation_of(probabilities: FloatArray, grid: Grid, study: PreparedStudy, model: ModelIdentity) -> Segmentation:
    """Region probabilities on `grid` as labels on the reference series' own grid."""
    onto = study.reference.grid
    return Segmentation(labels=labels_on_grid(probabilities, grid, onto), grid=onto, model=model)
