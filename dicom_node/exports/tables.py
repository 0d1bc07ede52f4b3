"""Measurements as CSV and Parquet, one line a number; the report as JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.exports.content import ExportScan


class LibraryMissing(Permanent):
    """A format needs a library that is not installed here."""

    code = "library-missing"


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


#: How Parquet holds them; the others are text.
_TYPES = {"lesion": "int32", "value": "float64", "low": "float64", "high": "float64"}


def _rows(scan: ExportScan) -> list[tuple[Any, ...]]:
    """A row a number, in the order of `COLUMNS`; None for what a number has not."""
    return [
        (
            scan.scan_id,
            scan.patient_id,
            scan.study_instance_uid,
            scan.study_date,
            one.quantity,
            one.subject,
            one.lesion,
            scan.tracking_uid(one.lesion),
            one.value,
            one.unit,
            one.low,
            one.high,
        )
        for one in scan.measurements
    ]


def write_csv(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-measurements.csv, UTF-8, with a header line; `lesion` is empty for totals, an interval where unknown."""
    path = out / f"{scan.scan_id}-measurements.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_cell(value) for value in row] for row in _rows(scan))
    return [path]


def write_parquet(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-measurements.parquet: the table of the CSV with types; null where a number has no lesion or interval.

    Raises:
        LibraryMissing: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow  # 150 MB, which most sites need not have
        from pyarrow import parquet
    except ImportError:
        raise LibraryMissing("Parquet needs pyarrow: install brain-tumor-node[parquet], or export csv") from None
    schema = arrow.schema([(name, getattr(arrow, _TYPES.get(name, "string"))()) for name in COLUMNS])
    columns = list(zip(*_rows(scan), strict=True)) or [()] * len(COLUMNS)
    path = out / f"{scan.scan_id}-measurements.parquet"
    table = arrow.table(
        [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema
    )
    parquet.write_table(table, path)
    return [path]


def write_json(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-report.json: what the node keeps as report.json, byte for byte the same content."""
    path = out / f"{scan.scan_id}-report.json"
    path.write_text(json.dumps(scan.told, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return [path]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return _plain(value) if isinstance(value, str) else repr(value)


def _plain(text: str) -> str:
    """Spreadsheets run what begins with these signs as a formula; an identifier came from outside."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
