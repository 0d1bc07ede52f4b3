"""After a run: what its models answered goes on record, and shadow models answer the same study for the record alone.

Durable, as the engine runs it; never in the way, as it waits while any study waits or is analysed; without effect on
results, as nothing here encodes, owes or sends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import structlog

from dicom_node.run_inputs import REPORT, report_of, run_volumes
from pipeline.comparison import Comparison, ModelAnswer, report_answers
from pipeline.models.protocols import ModelMode, Models
from pipeline.report import ModelIdentity
from storage.files import FileStore
from storage.lifecycle import ScanState
from storage.model_answers import ModelAnswerRecord, ModelAnswerRepository
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import AnswerMode

log = structlog.get_logger("comparisons")

#: Scans in these states want the machine.
_WORK = (ScanState.READY, ScanState.ANALYSING, ScanState.REPORTING)
_LOOK_EVERY_S = 0.5
#: Stands in a row while its model runs; a row that keeps it names the model that took the worker down.
UNFINISHED = "the worker ended while this model ran"


class Comparisons:
    """The handler of the step that follows a run. stopping: true once the worker is told to stop."""

    def __init__(
        self,
        *,
        studies: StudyRepository,
        scans: ScanRepository,
        answers: ModelAnswerRepository,
        files: FileStore,
        models: Callable[[], Models],
        stopping: Callable[[], bool],
    ) -> None:
        self._studies = studies
        self._scans = scans
        self._answers = answers
        self._files = files
        self._models = models
        self._stopping = stopping

    def record(self, run_id: str) -> None:
        """Record what the run's models answered; then let the shadow models answer, one by one, and record that.

        May run twice: a shadow model that answered, or failed, is not asked again.

        Raises:
            OSError, StorageError, DicomNodeError, PipelineError: the study cannot be read any more.
        """
        run = self._scans.run(run_id)
        folder = self._files.run_folder(run_id)
        told: dict[str, Any] = json.loads((folder / REPORT).read_bytes())
        report = report_of(folder, told)
        for answer in report_answers(report):
            self._keep(run_id, answer)
        models = self._models()
        if not any(one.mode is ModelMode.SHADOW for one in models.installed):
            return
        self.give_way()
        volumes = run_volumes(run, self._scans.get(run.scan_id), told, self._studies, self._files)
        comparison = Comparison(volumes, report, self.give_way)
        known = {
            (row.task, row.name, row.version, row.sha256)
            for row in self._answers.of_run(run_id)
            if row.error != UNFINISHED
        }
        for installed in comparison.due(models):
            identity = installed.model.identity
            if _key(identity) in known:
                continue
            empty = ModelAnswer(model=identity, mode=installed.mode, answer=None, error=UNFINISHED)
            self._keep(run_id, empty)
            answer = comparison.answer(installed)
            self._keep(run_id, answer)
            log.info("shadow answered", run=run_id, model=identity.name, version=identity.version, ok=not answer.error)

    def _keep(self, run_id: str, answer: ModelAnswer) -> None:
        identity = answer.model
        self._answers.upsert(
            ModelAnswerRecord(
                run_id=run_id,
                task=identity.task,
                name=identity.name,
                version=identity.version,
                sha256=identity.weights_sha256,
                mode=AnswerMode(answer.mode.value),
                answer=answer.answer,
                agreement=answer.agreement,
                seconds=answer.seconds,
                peak_memory_mb=answer.peak_memory_mb,
                error=answer.error,
            )
        )

    def give_way(self) -> None:
        """Wait while a study wants the machine."""
        while not self._stopping() and self._scans.in_states(*_WORK, limit=1):
            time.sleep(_LOOK_EVERY_S)


def _key(identity: ModelIdentity) -> tuple[str, str, str, str]:
    return identity.task, identity.name, identity.version, identity.weights_sha256
