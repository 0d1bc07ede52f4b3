"""Reports, stamps and evidence for tests of what is written from them: small, exact, with visible values."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dicom_node.results.evidence import Evidence, ReferenceSeries, SeriesEvidence, SliceSource
from dicom_node.results.stamp import RunStamp
from pipeline.report import (
    DiameterLine,
    Finding,
    Flag,
    Label,
    Lesion,
    Measurement,
    ModelIdentity,
    RegistrationResult,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    Stage,
)
from pipeline.volume import Grid, SeriesRole, Volume
from tests.mr_series import MrSeries

DETECTOR = ModelIdentity(name="Detector", version="1.2", task="detection", weights_sha256="a" * 64)
CLASSIFIER = ModelIdentity(name="Classifier", version="0.9", task="type", weights_sha256="b" * 64)
SEGMENTER = ModelIdentity(name="Segmenter", version="2.0", task="segmentation", weights_sha256="c" * 64)

STAMP = RunStamp(
    started_at=datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC),
    inputs_digest="d" * 64,
    run_number=1,
    software_version="0.1.0",
)

#: (column, row, slice) of every painted voxel of `painted_labels`, distinct in all three on purpose.
PAINTED: dict[Label, tuple[tuple[int, int, int], ...]] = {
    Label.NCR: ((1, 2, 3),),
    Label.ED: ((5, 0, 1), (6, 5, 4)),
    Label.ET: ((0, 4, 0), (2, 3, 2)),
}


def evidence_of(series: MrSeries) -> Evidence:
    """The series as the reference, with one other series that was read."""
    first = series.datasets[0]
    if "NumberOfFrames" in first:
        count = int(first.NumberOfFrames)
        slices = [SliceSource(sop_instance_uid=first.SOPInstanceUID, frame_number=count - k) for k in range(count)]
    else:
        slices = [SliceSource(sop_instance_uid=dataset.SOPInstanceUID) for dataset in series.datasets]
    voxels = np.random.default_rng(2).uniform(0, 900, series.grid.shape).astype(np.float32)
    return Evidence(
        volume=Volume(voxels=voxels, grid=series.grid),
        reference=ReferenceSeries(datasets=series.datasets, slices=tuple(slices), grid=series.grid),
        others=(
            SeriesEvidence(
                role=SeriesRole.FLAIR,
                series_instance_uid="2.25.77",
                instances=(("1.2.840.10008.5.1.4.1.1.4", "2.25.771"), ("1.2.840.10008.5.1.4.1.1.4", "2.25.772")),
            ),
        ),
    )


def painted_labels(grid: Grid) -> np.ndarray:
    """uint8 labels with the voxels of `PAINTED`."""
    labels = np.zeros(grid.shape, np.uint8)
    for label, voxels in PAINTED.items():
        for voxel in voxels:
            labels[voxel] = label
    return labels


def full_report(grid: Grid, labels: np.ndarray | None = None) -> Report:
    """Every stage ran: a tumour, its type, three segments, one lesion with both diameters."""
    return Report(
        roles=(SeriesRole.T1CE, SeriesRole.FLAIR),
        reference_role=SeriesRole.T1CE,
        reference_grid=grid,
        detection=Finding(
            stage=Stage.DETECT,
            value="tumour",
            probability=0.98765,
            probabilities={"tumour": 0.98765, "no tumour": 0.01235},
            basis="mean of the 5 highest slices",
            role=SeriesRole.T1CE,
            model=DETECTOR,
            calibration_error=0.0312,
        ),
        tumour_type=Finding(
            stage=Stage.CLASSIFY,
            value="glioma",
            probability=0.8,
            probabilities={"glioma": 0.8, "meningioma": 0.15, "pituitary": 0.05},
            basis="mean over tumour slices ≥ 0.5",
            role=SeriesRole.T1CE,
            model=CLASSIFIER,
        ),
        segmentation=Segmentation(
            labels=painted_labels(grid) if labels is None else labels, grid=grid, model=SEGMENTER
        ),
        measurements=(
            Measurement(quantity="volume", subject="WT", value=12.3456789, unit="mL", low=10.25, high=15.5),
            Measurement(quantity="volume", subject="TC", value=3.5, unit="mL"),
            Measurement(quantity="volume", subject="ET", value=1.25, unit="mL", low=0.75, high=2.0),
            Measurement(quantity="longest axial diameter", subject="TC", value=21.5, unit="mm"),
            Measurement(quantity="volume", subject="TC", value=3.5, unit="mL", lesion=1),
            Measurement(quantity="volume", subject="NCR", value=0.0, unit="mL", lesion=1),
            Measurement(quantity="longest axial diameter", subject="TC", value=21.5, unit="mm", lesion=1),
            Measurement(quantity="perpendicular axial diameter", subject="TC", value=10.0, unit="mm", lesion=1),
        ),
        lesions=(
            Lesion(
                number=1,
                centroid_mm=(0.0, 0.0, 0.0),
                volume_ml=12.3456789,
                longest=DiameterLine(start_mm=(10.0, 20.0, 30.0), end_mm=(31.5, 20.0, 30.0), length_mm=21.5),
                perpendicular=DiameterLine(start_mm=(20.0, 15.0, 30.0), end_mm=(20.0, 25.0, 30.0), length_mm=10.0),
            ),
        ),
        registrations=(
            RegistrationResult(
                role=SeriesRole.FLAIR,
                rotation_deg=0.81,
                translation_mm=1.26,
                overlap=0.97,
                similarity_before=-0.2,
                similarity_after=-0.6,
            ),
        ),
        flags=(Flag(code="low-overlap", text="the FLAIR series covers 90 % of the head"),),
    )


def report_without_tumour(grid: Grid) -> Report:
    """Detection says no; the rest follows."""
    full = full_report(grid)
    return Report(
        roles=full.roles,
        reference_role=full.reference_role,
        reference_grid=grid,
        detection=Finding(
            stage=Stage.DETECT,
            value="no tumour",
            probability=0.97,
            probabilities={"tumour": 0.03, "no tumour": 0.97},
            basis="mean of the 5 highest slices",
            role=SeriesRole.T1CE,
            model=DETECTOR,
        ),
        tumour_type=Skipped(
            stage=Stage.CLASSIFY, code=SkipCode.NO_TUMOUR_DETECTED, reason="the detector found no tumour"
        ),
        segmentation=Skipped(
            stage=Stage.SEGMENT, code=SkipCode.NO_TUMOUR_DETECTED, reason="the detector found no tumour"
        ),
        measurements=Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="nothing to measure"),
    )


def report_without_models(grid: Grid) -> Report:
    """No stage could run."""
    skip = {"code": SkipCode.MODEL_UNAVAILABLE, "reason": "the weight file is missing"}
    return Report(
        roles=(SeriesRole.T1CE,),
        reference_role=SeriesRole.T1CE,
        reference_grid=grid,
        detection=Skipped(stage=Stage.DETECT, **skip),
        tumour_type=Skipped(stage=Stage.CLASSIFY, **skip),
        segmentation=Skipped(stage=Stage.SEGMENT, **skip),
        measurements=Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="nothing to measure"),
    )


def written(data: bytes, folder: Path, name: str) -> Path:
    """`data` in a file, for programs that read files."""
    path = folder / name
    path.write_bytes(data)
    return path
