"""One study analysed: volumes in, report out. No file, row, socket or DICOM here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from pipeline.input_check import check_inputs
from pipeline.inputs import usable_volumes
from pipeline.label_map import implausibilities
from pipeline.measured import Measured, measure_study
from pipeline.models.protocols import Installed, Model, Models
from pipeline.models.selection import Arrived, NoneFits, choose
from pipeline.preparation import PreparedStudy, prepare
from pipeline.process_memory import peak_memory_mb
from pipeline.report import (
    Finding,
    Flag,
    ModelChoice,
    Region,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    Stage,
    StageTiming,
)
from pipeline.stages import detected, region_probabilities, segmentation_of, typed
from pipeline.study_findings import NO_TUMOUR, TUMOUR, no_tumour_index
from pipeline.uncertainty import VolumeRange, overlooked, volume_ranges, with_ranges
from pipeline.volume import CHANNEL_ORDER, SeriesRole, Volume

StageProgress = Callable[[Stage, float], None]
_Result = TypeVar("_Result")


def no_stage_progress(stage: Stage, share: float) -> None:
    """Progress that nobody watches."""


def analyse(
    volumes: Mapping[SeriesRole, Volume],
    models: Models,
    progress: StageProgress = no_stage_progress,
    *,
    study_uid: str = "",
) -> Report:
    """Register, detect, type, segment and measure one study.

    volumes: each role's series on its native grid, any subset of the four roles. progress: called with the stage and
    the share of it done, 0..1. study_uid: what the split between versions of a model goes by; without it no version of
    mode 'ab' answers. What cannot run is `Skipped` with its reason; a stage or model that raises is skipped and
    flagged, and the rest goes on.

    Raises:
        NothingToAnalyse: no volume, or none that can be used.
    """
    return _Analysis(volumes, models, progress, study_uid).run()


class _Analysis:
    """The stages of one call of `analyse` and what they leave for each other."""

    def __init__(
        self, volumes: Mapping[SeriesRole, Volume], models: Models, progress: StageProgress, study_uid: str
    ) -> None:
        self._given = volumes
        self._models = models
        self._progress = progress
        self._study_uid = study_uid
        self._choices: list[ModelChoice] = []
        self._flags: list[Flag] = []
        self._timings: list[StageTiming] = []
        self._ranges: Mapping[Region, VolumeRange] = {}

    def run(self) -> Report:
        with self._timed(Stage.PREPARE):
            usable, flags = usable_volumes(self._given)
            study = prepare(usable, lambda share: self._progress(Stage.PREPARE, share))
            self._flags += [*flags, *study.flags, *check_inputs(study)]
        with self._timed(Stage.DETECT):
            detection = self._guarded(Stage.DETECT, lambda: self._detect(study))
        with self._timed(Stage.CLASSIFY):
            tumour_type = self._guarded(Stage.CLASSIFY, lambda: self._classify(study, detection))
        with self._timed(Stage.SEGMENT):
            segmentation = self._guarded(Stage.SEGMENT, lambda: self._segment(study))
        with self._timed(Stage.MEASURE):
            measured = self._guarded(Stage.MEASURE, lambda: _measure(segmentation, study))
        known = Measured() if isinstance(measured, Skipped) else measured
        self._flags += _disagreements(detection, tumour_type, segmentation)
        return Report(
            roles=tuple(role for role in SeriesRole if role in study.volumes),
            reference_role=study.reference_role,
            reference_grid=study.reference.grid,
            detection=detection,
            tumour_type=tumour_type,
            segmentation=segmentation,
            measurements=measured
            if isinstance(measured, Skipped)
            else with_ranges(measured.measurements, self._ranges),
            lesions=known.lesions,
            registrations=study.registrations,
            flags=tuple(self._flags),
            timings=tuple(self._timings),
            choices=tuple(self._choices),
            brain=known.brain,
            bidimensional=known.bidimensional,
            space=study.space(),
        )

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        self._progress(stage, 0.0)
        started = time.perf_counter()
        yield
        self._timings.append(
            StageTiming(stage=stage, seconds=time.perf_counter() - started, peak_memory_mb=peak_memory_mb())
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

    def _chosen(
        self, stage: Stage, task: str, installed: Sequence[Installed[Model]], study: PreparedStudy
    ) -> Installed[Model] | Skipped:
        """The model that answers for this study, its choice noted; or why none does."""
        roles = frozenset(study.volumes)
        choice = choose(installed, Arrived(roles=roles, reference=study.reference.grid, study_uid=self._study_uid))
        if isinstance(choice, NoneFits):
            missing = choice.missing
            if not choice.active and stage is Stage.SEGMENT:
                missing = tuple(role for role in CHANNEL_ORDER if role not in roles)
            if missing:
                return self._no_role(stage, missing, study, choice.wanted)
            if not choice.active:
                return self._unavailable(stage, task)
            return Skipped(stage=stage, code=SkipCode.MODEL_UNAVAILABLE, reason=choice.reason)
        identity = choice.installed.model.identity
        self._choices.append(
            ModelChoice(
                stage=stage,
                model=identity.name,
                version=identity.version,
                reason=choice.reason,
                mode=choice.installed.mode.value,
            )
        )
        return choice.installed

    def _detect(self, study: PreparedStudy) -> Finding | Skipped:
        chosen = self._chosen(Stage.DETECT, "detection", self._models.detectors, study)
        if isinstance(chosen, Skipped):
            return chosen
        return replace(detected(chosen.model, study), calibration_error=chosen.calibration_error)

    def _classify(self, study: PreparedStudy, detection: Finding | Skipped) -> Finding | Skipped:
        if isinstance(detection, Skipped):
            reason = f"only a detected tumour is typed, and detection did not run: {detection.reason}"
            return Skipped(stage=Stage.CLASSIFY, code=detection.code, reason=reason)
        if detection.value == NO_TUMOUR:
            return Skipped(stage=Stage.CLASSIFY, code=SkipCode.NO_TUMOUR_DETECTED, reason="no tumour was detected")
        chosen = self._chosen(Stage.CLASSIFY, "type", self._models.type_classifiers, study)
        if isinstance(chosen, Skipped):
            return chosen
        return replace(typed(chosen.model, study, detection), calibration_error=chosen.calibration_error)

    def _segment(self, study: PreparedStudy) -> Segmentation | Skipped:
        chosen = self._chosen(Stage.SEGMENT, "segmentation", self._models.segmenters, study)
        if isinstance(chosen, Skipped):
            return chosen
        model = chosen.model
        probabilities, grid = region_probabilities(model, study, lambda share: self._progress(Stage.SEGMENT, share))
        segmentation = segmentation_of(probabilities, grid, study, model.identity)
        self._ranges = volume_ranges(probabilities, grid, segmentation.labels, segmentation.grid)
        self._flags += overlooked(segmentation.labels, self._ranges)
        self._flags += implausibilities(segmentation.labels, segmentation.grid, study.brain, study.grid)
        return segmentation

    def _no_role(
        self, stage: Stage, needed: tuple[SeriesRole, ...], study: PreparedStudy, wanted: str = "all four contrasts"
    ) -> Skipped:
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
        link = f"needs {wanted}; missing" if stage is Stage.SEGMENT else "needs one of"
        return Skipped(stage=stage, code=code, reason=f"the stage '{stage}' {link}: {', '.join(fates)}")


def _measure(segmentation: Segmentation | Skipped, study: PreparedStudy) -> Measured | Skipped:
    if isinstance(segmentation, Skipped):
        reason = f"there is no segmentation to measure: {segmentation.reason}"
        return Skipped(stage=Stage.MEASURE, code=segmentation.code, reason=reason)
    measured = measure_study(segmentation, study)
    if not measured.measurements:
        return Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="no tumour voxel was segmented")
    return measured


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
