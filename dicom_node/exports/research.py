"""The research bundle: images, segmentation and numbers of one scan, without who it was."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from dicom_node.errors import Permanent
from dicom_node.exports.content import ExportScan, ExportSources
from dicom_node.exports.deidentify import IdentityInPixels, deidentified
from dicom_node.exports.pseudonyms import Pseudonyms
from pipeline.nifti import save_labels, save_volume
from pipeline.report import Finding, Segmentation

#: Of every entry, so that the same scan gives the same file.
_ENTRY_TIME = (1980, 1, 1, 0, 0, 0)


class ImagesGone(Permanent):
    """The images behind a result were removed."""

    code = "images-gone"


def write_research(scan: ExportScan, out: Path) -> list[Path]:
    """<pseudonym>-<study>.zip with dicom/, nifti/ and report.json; none where only the result is at hand.

    Raises:
        ImagesGone: files of the series were removed. StudyIneligible, ImagesDamaged, PipelineError: they cannot be read
        any more.
    """
    if scan.sources is None:
        return []
    who = Pseudonyms(key=scan.sources.key(), patient=_patient(scan))
    study = who.uid(scan.study_instance_uid or scan.scan_id).rpartition(".")[2][:10]
    path = out / f"{who.name}-{study}.zip"
    try:
        with zipfile.ZipFile(path, "w") as archive:
            _fill(archive, scan, scan.sources, who)
    except FileNotFoundError:
        path.unlink(missing_ok=True)
        raise ImagesGone(f"the images of scan {scan.scan_id} are no longer here: send the study again") from None
    except BaseException:
        path.unlink(missing_ok=True)  # half a bundle looks like a whole one
        raise
    return [path]


def _fill(archive: zipfile.ZipFile, scan: ExportScan, sources: ExportSources, who: Pseudonyms) -> None:
    dropped: Counter[str] = Counter()
    for folder, name, data in _dicom(sources, who):
        dropped[folder] += data is None
        if data is not None:
            _put(archive, name, data)
    for name, made in _nifti(scan, sources, +dropped):
        _put(archive, name, made)
    told = json.dumps(_told(scan, who, +dropped), indent=1, allow_nan=False)
    _put(archive, "report.json", told.encode())


def _patient(scan: ExportScan) -> str:
    """Without a Patient ID every scan is somebody else's."""
    if not scan.patient_id.strip():
        return f"scan:{scan.scan_id}"
    return f"{scan.issuer_of_patient_id}\n{scan.patient_id.strip()}"


def _dicom(sources: ExportSources, who: Pseudonyms) -> Iterator[tuple[str, str, bytes | None]]:
    """Role (or SEG), name and bytes of each image; None for what says that its pixels hold text of the patient."""
    for folder, paths in (*sources.series.items(), ("SEG", sources.segmentations)):
        for number, path in enumerate(paths, 1):
            try:
                made = deidentified(dcmread(path), who, folder)
            except IdentityInPixels:
                yield folder, f"dicom/{folder}/{number:04d}.dcm", None
                continue
            file = BytesIO()
            made.save_as(file, enforce_file_format=True)
            yield folder, f"dicom/{folder}/{number:04d}.dcm", file.getvalue()


def _nifti(scan: ExportScan, sources: ExportSources, dropped: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The volumes on their own grids, and the labels on the reference's; headers are written anew.

    dropped: the roles of which an image says that its pixels hold text; their volumes hold the same pixels.
    """
    with tempfile.TemporaryDirectory(prefix="btn-research-") as folder:
        for role, volume in sources.volumes().items():
            if role.value in dropped:
                continue
            path = Path(folder) / f"{role.value}.nii.gz"
            save_volume(path, volume)
            yield f"nifti/{path.name}", path.read_bytes()
        if isinstance(scan.report.segmentation, Segmentation):
            path = Path(folder) / "labels.nii.gz"
            save_labels(path, scan.report.segmentation)
            yield f"nifti/{path.name}", path.read_bytes()


def _told(scan: ExportScan, who: Pseudonyms, dropped: Mapping[str, int]) -> dict[str, Any]:
    """The report's numbers and codes; no text that was composed of what came in."""
    report = scan.report
    findings = [part for part in (report.detection, report.tumour_type) if isinstance(part, Finding)]
    return {
        "patient": who.name,
        "study": who.uid(scan.study_instance_uid) if scan.study_instance_uid else "",
        "study_date_shifted": who.day(scan.study_date.replace("-", "")),
        "notice": report.notice,
        "faces": "not removed: a head in three dimensions can be recognised",
        "images_left_out": sum(dropped.values()),
        "volumes_left_out": [role.value for role in report.roles if role.value in dropped],
        "roles": [role.value for role in report.roles],
        "reference_role": report.reference_role.value,
        "findings": [
            {"stage": one.stage.value, "value": one.value, "probabilities": dict(one.probabilities)} for one in findings
        ],
        "measurements": [
            {
                "quantity": one.quantity,
                "subject": one.subject,
                "lesion": one.lesion,
                "tracking_uid": who.uid(scan.tracking_uid(one.lesion)),
                "value": one.value,
                "unit": one.unit,
                "low": one.low,
                "high": one.high,
            }
            for one in scan.measurements
        ],
        "skipped": [{"stage": one.stage.value, "code": one.code.value} for one in report.skipped],
        "flags": sorted({flag.code for flag in report.flags}),
        "models": [
            {"task": one.task, "name": one.name, "version": one.version, "sha256": one.weights_sha256}
            for one in report.models
        ],
    }


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _ENTRY_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED if name.startswith("dicom/") else zipfile.ZIP_STORED
    archive.writestr(entry, data)
