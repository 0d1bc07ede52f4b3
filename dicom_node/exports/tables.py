"""Measurements as CSV, one line a number; the report as JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from dicom_node.exports.content import ExportScan

COLUMNS = (
    "scan_id",
    "patient_id",
    "study_instance_uid",
    "study_date",
    "quantity",
    "subject",
    "lesion",
    "tracking_uid",
    "value",
    "unit",
    "low",
    "high",
)


def write_csv(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-measurements.csv, UTF-8, with a header line; `lesion` is empty for totals, an interval where unknown."""
    path = out / f"{scan.scan_id}-measurements.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in scan.measurements:
            writer.writerow(
                (
                    scan.scan_id,
                    _plain(scan.patient_id),
                    scan.study_instance_uid,
                    scan.study_date,
                    one.quantity,
                    one.subject,
                    "" if one.lesion is None else one.lesion,
                    scan.tracking_uid(one.lesion),
                    repr(one.value),
                    one.unit,
                    "" if one.low is None else repr(one.low),
                    "" if one.high is None else repr(one.high),
                )
            )
    return [path]


def write_json(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-report.json: what the node keeps as report.json, byte for byte the same content."""
    path = out / f"{scan.scan_id}-report.json"
    path.write_text(json.dumps(scan.told, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return [path]


def _plain(text: str) -> str:
    """Spreadsheets run what begins with these signs as a formula; an identifier came from outside."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
