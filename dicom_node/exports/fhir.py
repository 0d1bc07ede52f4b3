"""FHIR R4B: a Bundle of DiagnosticReport, ImagingStudy and an Observation a number, checked by fhir.resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhir.resources.R4B.bundle import Bundle

from dicom_node.exports.content import ExportScan
from dicom_node.uids import derive_uid
from pipeline.report import Finding, Measurement

_DICOM_UID = "urn:dicom:uid"
_OWN_CODES = "https://brain-tumor-node.invalid/codes"
_UCUM = "http://unitsofmeasure.org"
#: What a quantity is called in SNOMED CT, as in the SR; anything else is named in words.
_SNOMED = {
    "volume": ("118565006", "Volume"),
    "longest axial diameter": ("103339001", "Long axis"),
    "perpendicular axial diameter": ("103340004", "Short axis"),
}


def write_fhir(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-fhir.json: a collection Bundle. Status 'preliminary': nobody has read it yet."""
    path = out / f"{scan.scan_id}-fhir.json"
    path.write_text(bundle(scan).model_dump_json(indent=1), encoding="utf-8")
    return [path]


def bundle(scan: ExportScan) -> Bundle:
    """The validated Bundle; its ids follow from the run, so that a second export updates the first."""
    observations = [_observation(scan, one, n) for n, one in enumerate(scan.measurements, 1)]
    resources = [*([_imaging_study(scan)] if scan.study_instance_uid else []), *observations]
    report = _report(scan, [_url(scan, one["id"]) for one in observations])
    entries = [{"fullUrl": _url(scan, one["id"]), "resource": one} for one in (report, *resources)]
    return Bundle.model_validate({"resourceType": "Bundle", "type": "collection", "entry": entries})


def _report(scan: ExportScan, observations: list[str]) -> dict[str, Any]:
    told = {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "identifier": [{"system": _OWN_CODES, "value": scan.run_id}],
        "status": "preliminary",
        "code": {"coding": [{"system": "http://loinc.org", "code": "24590-2", "display": "MR Brain"}]},
        "subject": _patient(scan),
        "result": [{"reference": url} for url in observations],
        "conclusion": _conclusion(scan),
    }
    if scan.study_instance_uid:
        told["imagingStudy"] = [{"reference": _url(scan, "study")}]
    return told


def _conclusion(scan: ExportScan) -> str:
    found = [part for part in (scan.report.detection, scan.report.tumour_type) if isinstance(part, Finding)]
    said = [f"{part.stage.value}: {part.value} (probability {part.probability:.2f})" for part in found]
    said += [f"not run: {skipped.stage.value}: {skipped.reason}" for skipped in scan.report.skipped]
    follow_up = scan.report.follow_up
    if follow_up is not None and follow_up.volume is not None:
        said += [*follow_up.volume.arithmetic, follow_up.volume.notice]
    return ". ".join([scan.report.notice, *said])


def _imaging_study(scan: ExportScan) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": "study",
        "identifier": [{"system": _DICOM_UID, "value": f"urn:oid:{scan.study_instance_uid}"}],
        "status": "available",
        "subject": _patient(scan),
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
    }


def _observation(scan: ExportScan, one: Measurement, number: int) -> dict[str, Any]:
    text = f"{one.quantity} of {one.subject}" + ("" if one.lesion is None else f", lesion {one.lesion}")
    code: dict[str, Any] = {"text": text}
    if one.quantity in _SNOMED:
        value, display = _SNOMED[one.quantity]
        code["coding"] = [{"system": "http://snomed.info/sct", "code": value, "display": display}]
    told: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"observation-{number}",
        "status": "preliminary",
        "code": code,
        "subject": _patient(scan),
        "valueQuantity": {"value": round(one.value, 4), "unit": one.unit, "system": _UCUM, "code": one.unit},
    }
    if scan.study_instance_uid:
        told["derivedFrom"] = [{"reference": _url(scan, "study")}]
    tracking = scan.tracking_uid(one.lesion)
    if tracking:
        told["identifier"] = [{"system": _DICOM_UID, "value": f"urn:oid:{tracking}", "use": "secondary"}]
    return told


def _patient(scan: ExportScan) -> dict[str, Any]:
    """By identifier alone: who that is, the receiver knows."""
    identifier = {"value": scan.patient_id or "unknown"}
    if scan.issuer_of_patient_id:
        identifier["system"] = f"urn:issuer:{scan.issuer_of_patient_id.replace(' ', '-')}"
    return {"type": "Patient", "identifier": identifier}


def _url(scan: ExportScan, name: str) -> str:
    return f"urn:oid:{derive_uid('fhir', scan.run_id, name)}"
