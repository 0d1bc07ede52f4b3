"""HL7 v2.5.1 ORU^R01: one OBX for each number and finding, for systems that read nothing newer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dicom_node.exports.content import ExportScan
from dicom_node.uids import derive_uid
from pipeline.report import Finding

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


def write_hl7(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>.hl7: segments end with CR, UTF-8. Every result has status P: preliminary."""
    path = out / f"{scan.scan_id}.hl7"
    path.write_bytes(message(scan, datetime.now(UTC)).encode())
    return [path]


def message(scan: ExportScan, made_at: datetime) -> str:
    """The message. Its control id follows from the run: the same result sent twice is seen to be the same."""
    control = derive_uid("hl7", scan.run_id).removeprefix("2.25.")[:20]
    patient = f"{_text(scan.patient_id)}^^^{_text(scan.issuer_of_patient_id)}"
    segments = [
        f"MSH|^~\\&|BTNODE||||{made_at:%Y%m%d%H%M%S}+0000||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{patient}||{'^'.join(_text(part) for part in scan.patient_name.split('^'))}",
        f"OBR|1||{_text(scan.accession_number)}|24590-2^MR Brain^LN|||{_text(scan.study_date)}||||||||||||||||||P",
    ]
    rows: list[tuple[str, str, str, str]] = [("ST", "NOTICE", scan.report.notice, "")]
    for part in (scan.report.detection, scan.report.tumour_type):
        if isinstance(part, Finding):
            rows.append(("ST", part.stage.value.upper(), f"{part.value} (probability {part.probability:.2f})", ""))
    for one in scan.measurements:
        name = f"{one.quantity} of {one.subject}" + ("" if one.lesion is None else f", lesion {one.lesion}")
        rows.append(("NM", name, f"{one.value:.4f}", one.unit))
    for number, (kind, name, value, unit) in enumerate(rows, 1):
        code = f"{number}^{_text(name)}^99BTN"
        unit_field = f"{_text(unit)}^^UCUM" if unit else ""
        segments.append(f"OBX|{number}|{kind}|{code}||{_text(value)}|{unit_field}|||||P")
    return "\r".join(segments) + "\r"


def _text(value: str) -> str:
    """Escaped, and on one line."""
    return "".join(_ESCAPES.get(sign, sign) for sign in " ".join(value.split()))
