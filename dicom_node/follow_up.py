"""A run's report set among the earlier visits of its patient, as far as this node has analysed them.

Which earlier runs those are was frozen with the run's inputs, so that a step that runs twice compares twice the same.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import numpy as np

from dicom_node.follow_up_notes import NO_EARLIER
from dicom_node.run_inputs import REPORT, SEGMENTATION
from dicom_node.uids import derive_uid
from pipeline.followup import FollowUp
from pipeline.followup_json import follow_up_to_dict, visit_from_dict
from pipeline.longitudinal.compare import Imaged, followed
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.report import Report
from pipeline.volume import Grid, Volume
from storage.files import FileStore
from storage.runs import RunRow
from storage.studies import StudyRepository
from storage.study_rows import StudyRow
from storage.visits import VisitRepository

REFERENCE = "reference.nii.gz"


class FollowUps:
    """Earlier visits: which there are for a study, and a report compared with them."""

    def __init__(self, *, visits: VisitRepository, studies: StudyRepository, files: FileStore) -> None:
        self._visits = visits
        self._studies = studies
        self._files = files

    def priors(self, study_instance_uid: str) -> list[str]:
        """The runs that a new run of this study is to be compared with, oldest first."""
        study = self._studies.study(study_instance_uid)
        if not study.patient_id.strip() or _day(study) is None:
            return []
        return [row.run_id for row in self._visits.before(study_instance_uid)]

    def awaited(self, study_instance_uid: str, wait_s: float, now: datetime) -> int:
        """How many earlier studies are on their way here; none once the study has waited `wait_s`."""
        study = self._studies.study(study_instance_uid)
        if _day(study) is None or now - study.last_received_at >= timedelta(seconds=wait_s):
            return 0
        return self._visits.on_their_way(study_instance_uid)

    def compare(self, run: RunRow, study_instance_uid: str, report: Report, reference: Volume) -> Report:
        """The report with `follow_up` and tracking UIDs. reference: the study's own, on the report's grid.

        Raises:
            OSError, StorageError, PipelineError: an earlier run cannot be read any more.
        """
        study = self._studies.study(study_instance_uid)
        day = _day(study)
        if day is None:
            return report  # without a date it has no place among others
        rows = self._visits.of_runs(run.priors)
        earlier = [visit_from_dict(row.visit) for row in rows]
        if not study.patient_id.strip():
            note = "not compared: the study has no Patient ID"
        else:
            note = "" if earlier else NO_EARLIER
        # The study's own UID: a lesion's identity must not change when the study is analysed again.
        owner = (study.patient_id, study.issuer_of_patient_id) if study.patient_id.strip() else ("", "")
        return followed(
            report,
            reference,
            earlier,
            self._imaged(rows[-1].run_id) if rows else None,
            new_uid=lambda number: derive_uid("lesion", *owner, study_instance_uid, str(number)),
            key=run.id,
            study_uid=study_instance_uid,
            day=day,
            note=note,
        )

    def keep(self, run_id: str, follow_up: FollowUp) -> None:
        """The run's visit as a row; it counts once the run is done. Raises NotFound, StorageError."""
        told = follow_up_to_dict(follow_up) or {}
        self._visits.keep(run_id, told["visits"][-1], diameters=told["diameters"], volume=told["volume"])

    def _imaged(self, run_id: str) -> Imaged:
        """What an earlier run left in its folder."""
        folder = self._files.run_folder(run_id)
        kept = json.loads((folder / REPORT).read_bytes())["reference_grid"]
        # NIfTI keeps float32 affines; the report has the grid as it was.
        grid = Grid(shape=tuple(kept["shape"]), affine=kept["affine"])
        labels, _ = load_nifti_labels(folder / SEGMENTATION)
        reference = Volume(voxels=load_nifti_volume(folder / REFERENCE).voxels, grid=grid)
        return Imaged(reference=reference, labels=labels.astype(np.uint8))


def _day(study: StudyRow) -> date | None:
    try:
        return datetime.strptime(study.study_date.strip(), "%Y%m%d").date()
    except ValueError:
        return None
