"""What a run was made from and what it left in its folder, read again: by its later steps and by what follows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.study import read_study
from dicom_node.study_rows import study_files
from pipeline.case_files import find_case_files
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.report import Report, Segmentation
from pipeline.report_json import identity_from_dict, report_from_dict
from pipeline.volume import Grid, SeriesRole, Volume
from storage.files import FileStore
from storage.runs import RunRow
from storage.scan_rows import ScanRow
from storage.studies import StudyRepository
from storage.vocabulary import Source

REPORT = "report.json"
SEGMENTATION = "segmentation.nii.gz"
LINT = "lint.json"


def lint_of(files: FileStore, run_id: str) -> dict[str, list[dict[str, Any]]] | None:
    """The defects that the lint found in a run's objects, by SOP Instance UID; None where it has not run.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    path = files.run_folder(run_id) / LINT
    if not path.is_file():
        return None
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_bytes())
    return found


def report_of(folder: Path, told: Mapping[str, Any]) -> Report:
    """The report of a run's analysis, its voxels read back onto the report's own grid (NIfTI keeps float32 affines).

    folder: the run's. told: its report.json.

    Raises:
        ReportUnreadable, OSError: the files are not those that the analysis left.
    """
    if told["segmentation"]["skipped"]:
        return report_from_dict(told, None)
    labels, _ = load_nifti_labels(folder / SEGMENTATION)
    grid = told["reference_grid"]
    segmentation = Segmentation(
        labels=labels.astype(np.uint8),
        grid=Grid(shape=tuple(grid["shape"]), affine=np.array(grid["affine"])),
        model=identity_from_dict(told["segmentation"]["model"]),
    )
    return report_from_dict(told, segmentation)


def uploaded_volumes(files: FileStore, scan_id: str) -> dict[SeriesRole, Volume]:
    """The NIfTI files of an upload, by role. Raises PipelineError, OSError."""
    case = find_case_files(files.upload_folder(scan_id))
    return {role: load_nifti_volume(path) for role, path in case.images.items()}


def run_volumes(
    run: RunRow, scan: ScanRow, told: Mapping[str, Any], studies: StudyRepository, files: FileStore
) -> dict[SeriesRole, Volume]:
    """The series that the run was made from, each in the role it had then, whatever was received or said since.

    told: the run's report.json. Nothing is written.

    Raises:
        StudyIneligible, ImagesDamaged, OSError, StorageError, PipelineError: they cannot be read any more.
    """
    if scan.source is Source.UPLOAD_NIFTI:
        return uploaded_volumes(files, scan.id)
    roles = {
        choice["chosen"]["series_instance_uid"]: SeriesRole(role)
        for role, choice in told["series_roles"]["roles"].items()
    }
    instances = studies.scan_facts(scan.id).instances
    used = [row for row in instances if row.series_instance_uid in roles]
    return read_study(study_files(used, files.root, run.started_at), roles).volumes
