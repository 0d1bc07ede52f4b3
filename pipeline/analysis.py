"""One study analysed: volumes in, report out. No file, row, socket or DICOM here."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from pipeline.inputs import usable_volumes
from pipeline.label_map import checked_regions, implausibilities, labels_on_grid
from pipeline.measurements import measure
from pipeline.models.protocols import Models, SliceClassifier
from pipeline.preparation import PreparedStudy, prepare
from pipeline.report import (
    Finding,
    Flag,
    Lesion,
    Measurement,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    Stage,
    StageTiming,
)
from pipeline.slices import axial_slices
from pipeline.study_findings import NO_TUMOUR, TUMOUR, detection_finding, no_tumour_index, type_finding
from pipeline.volume import CHANNEL_ORDER, SeriesRole, Volume

#: Axial slices read by a 2D model: one every 5 mm of a brain.
SLICE_COUNT = 28

StageProgress = Callable[[Stage, float], None]
_Result = TypeVar("_Result")


def no_stage_progress(stage: Stage, share: float) -> None:
    """Progress that nobody watches."""


def analyse(
    volumes: Mapping[SeriesRole, Volume], models: Models, progress: StageProgress = no_stage_progress
) -> Report:
    """Register, detect, type, segment and measure one study.

    volumes: each role's series on its native grid, any subset of the four roles. progress: called with the stage and
    the share of it done, 0..1. What cannot run is `Skipped` with its reason; a stage or model that raises is skipped
    and flagged, and the rest goes on.

    Raises:
        NothingToAnalyse: no volume, or none that can be used.
    """
    return _Analysis(volumes, models, progress).run()


class _Analysis:
    """The stages of one call of `analyse` and what they leave for each other."""

    def __init__(self, volumes: Mapping[SeriesRole, Volume], models: Models, progress: StageProgress) -> None:
        self._given = volumes
        self._models = models
        self._progress = progress
        self._flags: list[Flag] = []
        self._timings: list[StageTiming] = []

    def run(self) -> Report:
        with self._timed(Stage.PREPARE):
            usable, flags = usable_volumes(self._given)
            study = prepare(usable, lambda share: self._progress(Stage.PREPARE, share))
            self._flags += [*flags, *study.flags]
        with self._timed(Stage.DETECT):
            detection = self._guarded(Stage.DETECT, lambda: self._detect(study))
        with self._timed(Stage.CLASSIFY):
            tumour_type = self._guarded(Stage.CLASSIFY, lambda: self._classify(study, detection))
        with self._timed(Stage.SEGMENT):
            segmentation = self._guarded(Stage.SEGMENT, lambda: self._segment(study))
        with self._timed(Stage.MEASURE):
            measured = self._guarded(Stage.MEASURE, lambda: _measure(segmentation))
        measurements, lesions = (measured, ()) if isinstance(measured, Skipped) else measured
        self._flags += _disagreements(detection, tumour_type, segmentation)
        return Report(
            roles=tuple(role for role in SeriesRole if role in study.volumes),
            reference_role=study.reference_role,
            reference_grid=study.reference.grid,
            detection=detection,
            tumour_type=tumour_type,
            segmentation=segmentation,
            measurements=measurements,
            lesions=lesions,
            registrations=study.registrations,
            flags=tuple(self._flags),
            timings=tuple(self._timings),
        )

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        self._progress(stage, 0.0)
        started = time.perf_counter()
        yield
        self._timings.append(
            StageTiming(stage=stage, seconds=time.perf_counter() - started, peak_memory_mb=_peak_memory_mb())
        )
        self._progress(stage, 1.0)

    def _guarded(self, stage: Stage, work: Callable[[], _Result]) -> _Result | Skipped:
        """What `work` gives; where it raises, the stage is skipped and flagged."""
        try:
            return work()
        except Exception as error:  # A model is foreign code: whatever it raises must not cost the other stages.
            reason = f"{type(error).__name__}: {error}"
            self._flags.append(Flag(code=f"{stage}-failed", text=f"The stage '{stage}' failed: {reason}"))
            return Skipped(stage=stage, code=SkipCode.STAGE_FAILED, reason=reason)

    def _unavailable(self, stage: Stage, task: str) -> Skipped:
        reason = self._models.unavailable.get(task, f"no model for {task} is installed")
        return Skipped(stage=stage, code=SkipCode.MODEL_UNAVAILABLE, reason=reason)

    def _detect(self, study: PreparedStudy) -> Finding | Skipped:
        model = self._models.detector
        if model is None:
            return self._unavailable(Stage.DETECT, "detection")
        role = _role_for(model, study)
        if role is None:
            return self._no_role(Stage.DETECT, model.roles, study)
        positions, slices = axial_slices(study.on_analysis_grid(role), study.brain, SLICE_COUNT, model.input_size)
        return detection_finding(model, role, positions.tolist(), model.predict(slices))

    def _classify(self, study: PreparedStudy, detection: Finding | Skipped) -> Finding | Skipped:
        if isinstance(detection, Skipped):
            reason = f"only a detected tumour is typed, and detection did not run: {detection.reason}"
            return Skipped(stage=Stage.CLASSIFY, code=detection.code, reason=reason)
        if detection.value == NO_TUMOUR:
            return Skipped(stage=Stage.CLASSIFY, code=SkipCode.NO_TUMOUR_DETECTED, reason="no tumour was detected")
        model = self._models.type_classifier
        if model is None:
            return self._unavailable(Stage.CLASSIFY, "type")
        role = _role_for(model, study)
        if role is None:
            return self._no_role(Stage.CLASSIFY, model.roles, study)
        positions, slices = axial_slices(study.on_analysis_grid(role), study.brain, SLICE_COUNT, model.input_size)
        return type_finding(model, role, positions.tolist(), model.predict(slices), detection)

    def _segment(self, study: PreparedStudy) -> Segmentation | Skipped:
        missing = [role for role in CHANNEL_ORDER if role not in study.volumes]
        if missing:
            return self._no_role(Stage.SEGMENT, tuple(missing), study)
        model = self._models.segmenter
        if model is None:
            return self._unavailable(Stage.SEGMENT, "segmentation")
        image, grid = study.channels(model.spacing_mm)
        answer = model.segment(image, grid, lambda share: self._progress(Stage.SEGMENT, share))
        onto = study.reference.grid
        labels = labels_on_grid(checked_regions(answer, grid), grid, onto)
        self._flags += implausibilities(labels, onto, study.brain, study.grid)
        return Segmentation(labels=labels, grid=onto, model=model.identity)

    def _no_role(self, stage: Stage, needed: tuple[SeriesRole, ...], study: PreparedStudy) -> Skipped:
        """Skipped for want of series, with what became of each: not sent, unusable, or not registered."""
        lost = [role for role in needed if role in study.unregistered]
        fates = [
            f"{role} (registration failed: {study.unregistered[role]})"
            if role in study.unregistered
            else f"{role} (unusable, see the flags)"
            if role in self._given
            else f"{role}"
            for role in needed
        ]
        code = SkipCode.REGISTRATION_FAILED if lost else SkipCode.ROLE_MISSING
        link = "needs all four contrasts; missing" if stage is Stage.SEGMENT else "needs one of"
        return Skipped(stage=stage, code=code, reason=f"the stage '{stage}' {link}: {', '.join(fates)}")


def _role_for(model: SliceClassifier, study: PreparedStudy) -> SeriesRole | None:
    return next((role for role in model.roles if role in study.volumes), None)


def _measure(segmentation: Segmentation | Skipped) -> tuple[tuple[Measurement, ...], tuple[Lesion, ...]] | Skipped:
    if isinstance(segmentation, Skipped):
        reason = f"there is no segmentation to measure: {segmentation.reason}"
        return Skipped(stage=Stage.MEASURE, code=segmentation.code, reason=reason)
    measurements, lesions = measure(segmentation)
    if not measurements:
        return Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="no tumour voxel was segmented")
    return measurements, lesions


def _disagreements(
    detection: Finding | Skipped, tumour_type: Finding | Skipped, segmentation: Segmentation | Skipped
) -> list[Flag]:
    flags = []
    if isinstance(detection, Finding) and isinstance(segmentation, Segmentation):
        segmented = bool(segmentation.labels.any())
        if segmented != (detection.value == TUMOUR):
            found = "voxels of tumour" if segmented else "no tumour voxel"
            flags.append(
                Flag(
                    code="detection-segmentation-disagree",
                    text=f"Detection says '{detection.value}', the segmentation holds {found}; a person must look.",
                )
            )
    if isinstance(tumour_type, Finding) and no_tumour_index([tumour_type.value]) is not None:
        flags.append(
            Flag(
                code="detection-type-disagree",
                text="Detection found a tumour; the type model's most probable answer is that there is none.",
            )
        )
    return flags


def _peak_memory_mb() -> float:
    """Peak resident memory of this process; ru_maxrss counts KiB on Linux and bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0**2 if sys.platform == "darwin" else 1024.0)
