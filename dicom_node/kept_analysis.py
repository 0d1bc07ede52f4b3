"""What a run's analysis leaves in its folder, and the same read again: the encoding's input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dicom_node.explanations import TELLING, telling_slices
from dicom_node.follow_up import REFERENCE
from dicom_node.results.evidence import Evidence
from dicom_node.run_inputs import REPORT, SEGMENTATION, report_of
from dicom_node.study import StudyReading, evidence_from_record, evidence_record
from dicom_node.viewing import SPACE
from pipeline.nifti import load_nifti_volume, save_labels, save_volume
from pipeline.report import Report, Segmentation
from pipeline.report_json import report_to_dict
from pipeline.volume import Volume
from storage.files import FileStore

EVIDENCE = "evidence.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptAnalysis:
    """told: the report as written; report: the same as a value. volume: the reference. evidence: None of an upload."""

    told: dict[str, Any]
    report: Report
    volume: Volume
    evidence: Evidence | None


def keep_analysis(
    files: FileStore,
    run_id: str,
    report: Report,
    reference: Volume,
    reading: StudyReading | None,
    also_told: Mapping[str, Any],
) -> None:
    """Write a report, its labels and what the encoding and the pages need into the run's folder; `report.json` last.

    reference: the series the report is on. reading: None of an upload. also_told: members of `report.json` beside the
    report's own.

    Raises:
        OSError, StorageError.
    """
    folder = files.run_folder(run_id)
    if isinstance(report.segmentation, Segmentation):
        save_labels(folder / SEGMENTATION, report.segmentation)
    save_volume(folder / REFERENCE, reference)
    if reading is not None:
        record = evidence_record(reading, report.reference_role, files.root)
        files.write_result(run_id, EVIDENCE, json_bytes(record))
    slices = telling_slices(report)
    if slices is not None:
        files.write_result(run_id, TELLING, slices)
    if report.space is not None:
        files.write_result(run_id, SPACE, report.space.to_bytes())
    files.write_result(run_id, REPORT, json_bytes({**report_to_dict(report), **also_told}))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON as the files of a run's folder have it. Raises ValueError: a number is not finite."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()


def read_analysis(files: FileStore, run_id: str) -> KeptAnalysis:
    """Raises OSError, ValueError: a file is missing or damaged. EvidenceMismatch: an image is not what it was."""
    folder = files.run_folder(run_id)
    told, volume = json.loads((folder / REPORT).read_bytes()), load_nifti_volume(folder / REFERENCE)
    evidence = None
    if (folder / EVIDENCE).is_file():
        read = evidence_from_record(json.loads((folder / EVIDENCE).read_bytes()), files.root)
        evidence = replace(read, volume=volume)
    return KeptAnalysis(told=told, report=report_of(folder, told), volume=volume, evidence=evidence)
