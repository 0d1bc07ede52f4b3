"""What an export is made of: one analysed scan, read back from rows and files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.run_inputs import REPORT, report_of
from pipeline.report import Measurement, Report, Skipped
from storage.files import FileStore
from storage.scans import ScanRepository
from storage.studies import StudyRepository


class NothingToExport(Permanent):
    """The scan has no result yet, or its files are gone."""

    code = "nothing-to-export"


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportScan:
    """One analysed scan. told: its report.json; run_id: of the run that wrote it; study_*: empty for a NIfTI upload."""

    scan_id: str
    run_id: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    study_instance_uid: str
    study_date: str
    accession_number: str
    report: Report
    told: dict[str, Any]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All of them; none where the stage did not run."""
        return () if isinstance(self.report.measurements, Skipped) else self.report.measurements

    def tracking_uid(self, lesion: int | None) -> str:
        """Of a lesion by its number; empty for totals and where none is known."""
        return next((one.tracking_uid for one in self.report.lesions if one.number == lesion), "")


def read_scan(scan_id: str, scans: ScanRepository, studies: StudyRepository, files: FileStore) -> ExportScan:
    """The scan's present result.

    Raises:
        NotFound: no such scan. NothingToExport: no run of it is done, or its files cannot be read.
    """
    scan = scans.get(scan_id)
    run = next((run for run in scans.runs_of(scan_id) if run.number == scan.run), None)
    folder: Path | None = None if run is None else files.run_folder(run.id)
    if run is None or folder is None or not (folder / REPORT).is_file():
        raise NothingToExport(f"scan {scan_id} has no result: wait until it is analysed, or retry it")
    told = json.loads((folder / REPORT).read_bytes())
    study = studies.study(scan.study_instance_uid) if scan.study_instance_uid else None
    return ExportScan(
        scan_id=scan_id,
        run_id=run.id,
        patient_id=scan.patient_id,
        issuer_of_patient_id="" if study is None else study.issuer_of_patient_id,
        patient_name=scan.patient_name,
        study_instance_uid="" if study is None else study.study_instance_uid,
        study_date=scan.scan_date if study is None else study.study_date,
        accession_number="" if study is None else study.accession_number,
        report=report_of(folder, told),
        told=told,
    )
