"""`tumor-node analyse`: one study from a folder to a folder, without a node, a database or a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.inbound.headers import read_header
from dicom_node.inbound.refusals import ObjectUnreadable
from dicom_node.result_kinds import RECORD_KINDS
from dicom_node.results.encoders import encode_all
from dicom_node.results.stamp import RunStamp
from dicom_node.results.written_report import subject_of, write_report
from dicom_node.study import StudyFile, StudyReading, evidence_from_record, evidence_record, read_study
from pipeline.analysis import analyse
from pipeline.case_files import find_case_files
from pipeline.models.protocols import Models
from pipeline.nifti import load_nifti_volume, save_labels
from pipeline.report import Report, Segmentation, Stage
from pipeline.report_json import report_to_dict
from pipeline.volume import SeriesRole, Volume

StageProgress = Callable[[Stage, float], None]


class InputUnusable(Permanent):
    """The input folder holds neither a DICOM study nor NIfTI files named by role, or holds several studies."""

    code = "input-unusable"


@dataclass(frozen=True, kw_only=True, eq=False)
class OfflineResult:
    """The report and the files written for it."""

    report: Report
    files: tuple[Path, ...]
    series_roles: dict[str, Any]


def analyse_folder(
    source: Path, out: Path, models: Callable[[], Models], software_version: str, progress: StageProgress
) -> OfflineResult:
    """Analyse one study and write report.json, .html and .pdf, segmentation.nii.gz (0, 1, 2, 4), for DICOM the objects.

    models: called once the input is read: what cannot be analysed is refused without waiting for networks.

    Raises:
        InputUnusable, StudyIneligible, pipeline.errors.PipelineError: the input cannot be analysed; nothing is written.
        OSError: a file cannot be read or written.
    """
    reading, volumes, roles = _read(source)
    report = analyse(volumes, models(), progress, study_uid="" if reading is None else reading.study_instance_uid)
    if reading is not None:
        report = replace(report, flags=(*report.flags, *reading.flags))
    out.mkdir(parents=True, exist_ok=True)
    told = {**report_to_dict(report), "series_roles": roles}
    files = [out / "report.json"]
    files[0].write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    if isinstance(report.segmentation, Segmentation):
        files.append(out / "segmentation.nii.gz")
        save_labels(files[-1], report.segmentation)
    files += _encode(report, reading, source, out, volumes[report.reference_role], software_version)
    return OfflineResult(report=report, files=tuple(files), series_roles=roles)


def _read(source: Path) -> tuple[StudyReading | None, dict[SeriesRole, Volume], dict[str, Any]]:
    if not source.is_dir():
        raise InputUnusable(f"{source}: not a folder; name a folder of DICOM files or of NIfTI files")
    if any(path.name.endswith((".nii", ".nii.gz")) for path in source.iterdir()):
        case = find_case_files(source)
        roles: dict[str, Any] = {
            "roles": {str(role): {"basis": f"file name {path.name}"} for role, path in case.images.items()},
            "missing": [str(role) for role in SeriesRole if role not in case.images],
        }
        return None, {role: load_nifti_volume(path) for role, path in case.images.items()}, roles
    files = _dicom_files(source)
    studies = {file.header.study_instance_uid for file in files}
    if len(studies) != 1:
        found = "no DICOM and no NIfTI named by role" if not studies else f"{len(studies)} studies"
        raise InputUnusable(f"{source}: holds {found}; name a folder with one study")
    reading = read_study(files)
    return reading, reading.volumes, reading.explanation()


def _dicom_files(source: Path) -> list[StudyFile]:
    """Every instance below `source` that is not one of our own results; one of each SOP Instance UID."""
    found: dict[str, StudyFile] = {}
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        try:
            header = read_header(path)
        except ObjectUnreadable:
            continue
        if header.sop_instance_uid and not header.own_object:
            found.setdefault(header.sop_instance_uid, StudyFile(path=path, header=header))
    return list(found.values())


def _encode(
    report: Report, reading: StudyReading | None, source: Path, out: Path, volume: Volume, software_version: str
) -> list[Path]:
    found = {} if reading is None else reading.series
    inputs = sorted(slice_.sop_instance_uid for series in found.values() for slice_ in series.sources)
    stamp = RunStamp(
        started_at=datetime.now(UTC),
        inputs_digest=hashlib.sha256("\n".join(inputs).encode()).hexdigest(),
        run_number=1,
        software_version=software_version,
    )
    made: dict[str, bytes] = {}
    header = None
    if reading is not None:
        evidence = evidence_from_record(evidence_record(reading, report.reference_role, source), source)
        header = evidence.reference.first
        for encoded in encode_all(report, evidence, stamp, RECORD_KINDS):
            made[f"{encoded.kind.lower()}.dcm"] = encoded.to_bytes()
    told = write_report(report, subject_of(header, stamp), volume)
    made |= {"report.html": told.html.encode(), "report.pdf": told.pdf}
    for name, data in made.items():
        (out / name).write_bytes(data)
    return [out / name for name in made]
