"""After a run: a picture for each classifier of what in its most telling slice spoke for its answer.

Made when the results are out, one study after the other, and only while no study waits. A picture that cannot be made
is logged and left out: it explains a result and is none.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from PIL import Image

from dicom_node.run_inputs import REPORT
from pipeline.attention_picture import attention_picture
from pipeline.models.attention import attention
from pipeline.models.protocols import Models, SliceClassifier
from pipeline.report import Finding, ReadSlice, Report, Stage
from pipeline.study_findings import no_tumour_index
from storage.files import FileStore

log = structlog.get_logger("explanations")

#: The slices to be explained, written with the report. The pictures and what they show, written afterwards.
TELLING = "telling.npz"
ATTENTION = "attention.json"
_STAGES = {Stage.DETECT: "detection", Stage.CLASSIFY: "tumour_type"}


def telling_slices(report: Report) -> bytes | None:
    """What `Explanations` needs of a report that the report's own file does not hold; None where nothing was read."""
    arrays: dict[str, Any] = {}
    for stage, finding in ((Stage.DETECT, report.detection), (Stage.CLASSIFY, report.tumour_type)):
        if isinstance(finding, Finding) and finding.telling is not None:
            arrays[f"{stage}_pixels"] = finding.telling.pixels
            arrays[f"{stage}_position_mm"] = np.float64(finding.telling.position_mm)
    if not arrays:
        return None
    stored = io.BytesIO()
    np.savez_compressed(stored, **arrays)
    return stored.getvalue()


class Explanations:
    """The handler of what follows a run. models_folder: where Keras files are looked up by their hashes.

    write: a run's id, a name and bytes; raises where the run was erased (`late_files.write_late`). give_way: blocks
    while a study waits.
    """

    def __init__(
        self,
        *,
        files: FileStore,
        models: Callable[[], Models],
        models_folder: Path,
        write: Callable[[str, str, bytes], object],
        give_way: Callable[[], None],
    ) -> None:
        self._files = files
        self._models = models
        self._models_folder = models_folder
        self._write = write
        self._give_way = give_way

    def explain(self, run_id: str) -> None:
        """Write the pictures of a run. Never raises; may run twice and then does nothing."""
        try:
            folder = self._files.abspath(f"results/{run_id}")
            if (folder / ATTENTION).exists() or not (folder / TELLING).exists():
                return
            told = json.loads((folder / REPORT).read_bytes())
            shown = [self._picture(run_id, told, stage, read) for stage, read in _telling(folder / TELLING)]
            listed = [one for one in shown if one is not None]
            self._write(run_id, ATTENTION, json.dumps(listed, indent=1).encode())
        except Exception as error:  # what explains a result must not cost anything
            log.warning("no explanation", run=run_id, error=type(error).__name__, exc_info=error)

    def _picture(self, run_id: str, told: dict[str, Any], stage: Stage, read: ReadSlice) -> dict[str, Any] | None:
        finding = told[_STAGES[stage]]
        model = self._model_of(finding["model"]["weights_sha256"])
        if model is None:
            log.warning("no explanation, the model is no longer loaded", run=run_id, stage=str(stage))
            return None
        class_name = _explained_class(stage, model, str(finding["value"]))
        self._give_way()
        found = attention(model, read.pixels, class_name, self._models_folder)
        stored = io.BytesIO()
        Image.fromarray(attention_picture(read.pixels, found.heat)).save(stored, "PNG")
        name = f"attention-{stage}.png"
        self._write(run_id, name, stored.getvalue())
        log.info("explained", run=run_id, stage=str(stage), method=found.method)
        return {
            "stage": str(stage),
            "class": class_name,
            "role": finding["role"],
            "position_mm": round(read.position_mm, 1),
            "method": found.method,
            "model": f"{finding['model']['name']} {finding['model']['version']}",
            "nothing_found": not found.heat.any(),
            "file": name,
        }

    def _model_of(self, weights_sha256: str) -> SliceClassifier | None:
        models = self._models()
        for installed in (*models.detectors, *models.type_classifiers):
            if installed.model.identity.weights_sha256 == weights_sha256:
                return installed.model
        return None


def _telling(path: Path) -> Iterator[tuple[Stage, ReadSlice]]:
    with np.load(path, allow_pickle=False) as stored:
        for stage in _STAGES:
            if f"{stage}_pixels" in stored:
                position = float(stored[f"{stage}_position_mm"])
                yield stage, ReadSlice(pixels=stored[f"{stage}_pixels"], position_mm=position)


def _explained_class(stage: Stage, model: SliceClassifier, value: str) -> str:
    """Of a detector always the tumour, also where none was found: what came nearest to one. Of a type, the answer."""
    if stage is Stage.CLASSIFY:
        return value
    absent = no_tumour_index(model.classes)
    return next(name for index, name in reversed(list(enumerate(model.classes))) if index != absent)
