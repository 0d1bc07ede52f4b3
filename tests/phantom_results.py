"""Phantom studies with a report of their truth: real files, real conversion, real measurements, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dicom_node.inbound.conversion import ConvertedSeries, load_series
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.results.evidence import Evidence, SliceSource, load_evidence
from dicom_node.results.stamp import RunStamp
from pipeline.measurements import measure
from pipeline.report import Finding, ModelIdentity, Report, Segmentation, SkipCode, Skipped, Stage
from pipeline.volume import SeriesRole

STAMP = RunStamp(
    started_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), inputs_digest="d" * 64, run_number=1, software_version="0.2.0"
)
DETECTOR = ModelIdentity(name="Detector", version="1.2", task="detection", weights_sha256="a" * 64)
CLASSIFIER = ModelIdentity(name="Classifier", version="0.9", task="type", weights_sha256="b" * 64)
SEGMENTER = ModelIdentity(name="Segmenter", version="2.0", task="segmentation", weights_sha256="c" * 64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """The source files on disk, what they are evidence of, and the report."""

    paths: tuple[Path, ...]
    evidence: Evidence
    report: Report


def phantom_case(
    folder: Path,
    seed: int,
    vendor: str = "siemens",
    *,
    enhanced: bool = False,
    size: str = "small",
    tumour: bool = True,
) -> Case:
    """The T1CE of a phantom and its true labels."""
    study = make_study(
        seed, vendor, size=size, tumour=tumour, clutter=False, enhanced=enhanced, roles=(SeriesRole.T1CE,)
    )
    (written,) = write_study(folder, study)
    converted = load_series(written.paths)
    labels = study.truth_on(converted.volume.grid)
    return case_of(converted, labels)


def case_of(converted: ConvertedSeries, labels: np.ndarray) -> Case:
    """A converted series as the reference, with these labels (I, J, K)."""
    slices = [SliceSource(sop_instance_uid=s.sop_instance_uid, frame_number=s.frame_number) for s in converted.sources]
    paths = tuple(sorted({s.path for s in converted.sources}))
    loaded = load_evidence(paths, slices, converted.volume.grid)
    evidence = Evidence(reference=loaded.reference, volume=converted.volume)
    return Case(paths=paths, evidence=evidence, report=report_of_labels(converted, labels))


def report_of_labels(converted: ConvertedSeries, labels: np.ndarray) -> Report:
    """A report that found these labels, or no tumour where they are empty."""
    grid, found = converted.volume.grid, bool(labels.any())
    share = 0.97 if found else 0.04
    common = {"roles": (SeriesRole.T1CE,), "reference_role": SeriesRole.T1CE, "reference_grid": grid}
    detection = Finding(
        stage=Stage.DETECT,
        value="tumour" if found else "no tumour",
        probability=max(share, 1 - share),
        probabilities={"tumour": share, "no tumour": 1 - share},
        basis="mean of the 5 highest slices",
        role=SeriesRole.T1CE,
        model=DETECTOR,
    )
    if not found:
        reason = "the detector found no tumour"
        skipped = [
            Skipped(stage=s, code=SkipCode.NO_TUMOUR_DETECTED, reason=reason) for s in (Stage.CLASSIFY, Stage.SEGMENT)
        ]
        nothing = Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="nothing to measure")
        return Report(
            **common, detection=detection, tumour_type=skipped[0], segmentation=skipped[1], measurements=nothing
        )
    segmentation = Segmentation(labels=labels, grid=grid, model=SEGMENTER)
    measurements, lesions = measure(segmentation)
    return Report(
        **common,
        detection=detection,
        tumour_type=Finding(
            stage=Stage.CLASSIFY,
            value="glioma",
            probability=0.8,
            probabilities={"glioma": 0.8, "meningioma": 0.15, "pituitary": 0.05},
            basis="mean over tumour slices",
            role=SeriesRole.T1CE,
            model=CLASSIFIER,
        ),
        segmentation=segmentation,
        measurements=measurements,
        lesions=lesions,
    )
