"""What the pipeline says of the known study, found once for every process that is forked from this one."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from dicom_node.offline import analyse_folder
from pipeline.models.protocols import Models
from pipeline.report import Report, Stage
from tests.acceptance.small_studies import SmallStudies, known_study
from tests.acceptance.truth_node import quick_models


class Remembered:
    """The report of the known study. takes_s: how long an analysis is to last."""

    report: ClassVar[Report]
    takes_s: ClassVar[float] = 0.0

    @classmethod
    def analyse(cls, _volumes: object, _models: object, progress: Any, **_told: object) -> Report:
        """As `pipeline.analysis.analyse`."""
        progress(Stage.SEGMENT, 0.5)
        time.sleep(cls.takes_s)
        progress(Stage.MEASURE, 1.0)
        return cls.report


def known_models() -> Models:
    """Models that know the study's truth."""
    return quick_models(known_study(), shadow=False)


def remember(studies: SmallStudies) -> None:
    """Analyse and encode one study for real; what the libraries read for it is then in memory too."""
    with tempfile.TemporaryDirectory() as out:
        _, paths = studies.write("remembered")
        result = analyse_folder(paths[0].parent, Path(out), known_models, "1", lambda _stage, _share: None)
    Remembered.report = result.report
