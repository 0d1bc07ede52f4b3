"""What an export is made of: one analysed scan, read back from rows and files."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.run_inputs import REPORT, report_of, run_volumes
from pipeline.report import Measurement, Report, Skipped
from pipeline.volume import SeriesRole, Volume
from storage.files import FileStore
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository

#: In the storage root: who has it can tell whom a pseudonym stands for.
RESEARCH_KEY = "research-key"
_SEGMENTATIONS = ("seg.dcm", "seg-regions.dcm")


class NothingToExport(Permanent):
    """The scan has no result yet, or its files are gone."""

    code = "nothing-to-export"


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportSources:
    """The images behind a result. series: DICOM files of each role read, in a fixed order; none for a NIfTI upload.

    segmentations: our own DICOM SEGs. volumes: reads the series as the analysis did. key: the node's secret for
    pseudonyms.
    """

    series: Mapping[str, tuple[Path, ...]]
    segmentations: tuple[Path, ...]
    volumes: Callable[[], Mapping[SeriesRole, Volume]]
    key: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportScan:
    """One analysed scan. told: its report.json; run_id: of the run that wrote it; study_*: empty for a NIfTI upload.

    sources: None where only the result is at hand.
    """

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
    sources: ExportSources | None = None

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
        sources=ExportSources(
            series=_series(told, scan, studies, files),
            segmentations=tuple(path for path in (folder / name for name in _SEGMENTATIONS) if path.is_file()),
            volumes=lambda: run_volumes(run, scan, told, studies, files),
            key=lambda: research_key(files),
        ),
    )


def _series(
    told: Mapping[str, Any], scan: ScanRow, studies: StudyRepository, files: FileStore
) -> dict[str, tuple[Path, ...]]:
    if scan.study_instance_uid is None:
        return {}
    chosen = {choice["chosen"]["series_instance_uid"]: role for role, choice in told["series_roles"]["roles"].items()}
    found: dict[str, list[Path]] = {role: [] for role in chosen.values()}
    rows = [row for row in studies.instances_of(scan.study_instance_uid) if row.series_instance_uid in chosen]
    for row in sorted(rows, key=lambda row: (row.instance_number or 0, row.sop_instance_uid)):
        found[chosen[row.series_instance_uid]].append(files.abspath(row.path))
    return {role: tuple(paths) for role, paths in found.items()}


def research_key(files: FileStore) -> bytes:
    """The node's secret for pseudonyms, made at its first use. Who loses it gives everybody another pseudonym."""
    path = files.root / RESEARCH_KEY
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()
