"""Answers for the record: those of the report, and those of shadow models on the same study beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.segmentation_metrics import dice
from pipeline.inputs import usable_volumes
from pipeline.models.protocols import Installed, ModelMode, Models, Segmenter, SliceClassifier
from pipeline.models.selection import Arrived, fits
from pipeline.preparation import prepare
from pipeline.process_memory import peak_memory_mb
from pipeline.report import Finding, ModelIdentity, Region, Report, Segmentation, Skipped, Stage
from pipeline.stages import detected, region_probabilities, segmentation_of, typed
from pipeline.study_findings import NO_TUMOUR, TUMOUR
from pipeline.volume import SeriesRole, Volume

Json = dict[str, Any]

_STAGE_OF_TASK = {"detection": Stage.DETECT, "type": Stage.CLASSIFY, "segmentation": Stage.SEGMENT}


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """What a model answered, without voxels; `answer` is None where `error` says why there is none.

    answer: value, with probability and probabilities, or with volumes_ml of the regions. agreement, of a shadow answer
    with the report's: same_value, and for segmentations dice and volume_difference_ml (shadow minus report) of each
    region; a Dice is None where neither has the region. peak_memory_mb: of the process, when the model was through.
    """

    model: ModelIdentity
    mode: ModelMode
    answer: Json | None
    agreement: Json | None = None
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    error: str = ""


def report_answers(report: Report) -> tuple[ModelAnswer, ...]:
    """The answers that the report holds."""
    modes = {choice.stage: ModelMode(choice.mode) for choice in report.choices}
    timings = {timing.stage: timing for timing in report.timings}
    answers = []
    for model in report.models:
        stage = _STAGE_OF_TASK[model.task]
        timing = timings.get(stage)
        answers.append(
            ModelAnswer(
                model=model,
                mode=modes.get(stage, ModelMode.ACTIVE),
                answer=_told(_part(report, model.task)),
                seconds=timing.seconds if timing else 0.0,
                peak_memory_mb=timing.peak_memory_mb if timing else 0.0,
            )
        )
    return tuple(answers)


class Comparison:
    """One study, prepared once more, for the shadow models.

    volumes: the series that the report was made from. give_way: called often, and may block: a comparison is never in
    a hurry.

    Raises:
        NothingToAnalyse: no volume, or none that can be used.
    """

    def __init__(self, volumes: Mapping[SeriesRole, Volume], report: Report, give_way: Callable[[], None]) -> None:
        self._report = report
        self._give_way = give_way
        give_way()
        usable, _ = usable_volumes(volumes)
        self._study = prepare(usable, lambda share: give_way())

    def due(self, models: Models) -> list[Installed[SliceClassifier | Segmenter]]:
        """The shadow models that can read this study. A type model only where the report has a tumour to type."""
        arrived = Arrived(roles=frozenset(self._study.volumes), reference=self._study.reference.grid, study_uid="")
        detection = self._report.detection
        tumour = isinstance(detection, Finding) and detection.value != NO_TUMOUR
        return [
            one
            for one in models.installed
            if one.mode is ModelMode.SHADOW and fits(one, arrived) and (one.model.identity.task != "type" or tumour)
        ]

    def answer(self, installed: Installed[SliceClassifier | Segmenter]) -> ModelAnswer:
        """What one of the models that are due answers; whatever it raises becomes `error`."""
        identity = installed.model.identity
        self._give_way()
        started = time.perf_counter()
        told: Json | None = None
        agreement: Json | None = None
        error = ""
        try:
            result = self._run(installed.model)
            told, agreement = _told(result), _agreement(result, _part(self._report, identity.task))
        except Exception as raised:  # a model is foreign code, and this one must not cost anything
            error = f"{type(raised).__name__}: {raised}"
        return ModelAnswer(
            model=identity,
            mode=installed.mode,
            answer=told,
            agreement=agreement,
            seconds=time.perf_counter() - started,
            peak_memory_mb=peak_memory_mb(),
            error=error,
        )

    def _run(self, model: SliceClassifier | Segmenter) -> Finding | Segmentation:
        if isinstance(model, Segmenter):
            probabilities, grid = region_probabilities(model, self._study, lambda share: self._give_way())
            return segmentation_of(probabilities, grid, self._study, model.identity)
        if model.identity.task == "detection":
            return detected(model, self._study)
        detection = self._report.detection
        assert isinstance(detection, Finding)  # see `due`
        return typed(model, self._study, detection)


def _part(report: Report, task: str) -> Finding | Segmentation | Skipped:
    return {"detection": report.detection, "type": report.tumour_type, "segmentation": report.segmentation}[task]


def _told(result: Finding | Segmentation | Skipped) -> Json | None:
    if isinstance(result, Skipped):
        return None
    if isinstance(result, Finding):
        return {
            "value": result.value,
            "probability": result.probability,
            "probabilities": dict(result.probabilities),
        }
    volumes = _volumes_ml(result)
    return {"value": TUMOUR if result.labels.any() else NO_TUMOUR, "volumes_ml": volumes}


def _volumes_ml(segmentation: Segmentation) -> dict[str, float]:
    voxel_ml = segmentation.grid.voxel_volume_ml
    return {region.value: float(segmentation.region(region).sum()) * voxel_ml for region in Region}


def _agreement(result: Finding | Segmentation, reported: Finding | Segmentation | Skipped) -> Json | None:
    """None where the report has no such answer."""
    ours, theirs = _told(result), _told(reported)
    if ours is None or theirs is None:
        return None
    agreement: Json = {"same_value": ours["value"] == theirs["value"]}
    if isinstance(result, Segmentation) and isinstance(reported, Segmentation):
        agreement["dice"] = {
            region.value: dice(result.region(region) > 0, reported.region(region) > 0) for region in Region
        }
        agreement["volume_difference_ml"] = {
            name: volume - theirs["volumes_ml"][name] for name, volume in ours["volumes_ml"].items()
        }
    return agreement
