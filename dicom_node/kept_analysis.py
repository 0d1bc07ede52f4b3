"""What a run's analysis left in its folder, read again: the encoding's input."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from dicom_node.follow_up import REFERENCE
from dicom_node.results.evidence import Evidence
from dicom_node.run_inputs import REPORT, report_of
from dicom_node.study import evidence_from_record
from pipeline.nifti import load_nifti_volume
from pipeline.report import Report
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


def read_analysis(files: FileStore, run_id: str) -> KeptAnalysis:
    """Raises OSError, ValueError: a file is missing or damaged. EvidenceMismatch: an image is not what it was."""
    folder = files.run_folder(run_id)
    told, volume = json.loads((folder / REPORT).read_bytes()), load_nifti_volume(folder / REFERENCE)
    evidence = None
    if (folder / EVIDENCE).is_file():
        read = evidence_from_record(json.loads((folder / EVIDENCE).read_bytes()), files.root)
        evidence = replace(read, volume=volume)
    return KeptAnalysis(told=told, report=report_of(folder, told), volume=volume, evidence=evidence)
