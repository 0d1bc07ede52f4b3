"""A scan as it leaves this package, and the query that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from storage.lifecycle import ScanState
from storage.rows import detached
from storage.tables import Scan, Study
from storage.vocabulary import Source


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """One scan. `progress` 0 to 100; `results` the report without voxels, None until there is one.

    `study_id` is the row of the study, `study_instance_uid` its DICOM UID; both None for an upload of NIfTI.
    `failed_in`, `error_code`, `error_text` are set in the states failed and ineligible only. `finding`: the result in
    one line where it was kept with it. `deleted_at`: out of sight; `erased_at`: and without the patient's data.
    """

    id: str
    study_id: int | None
    study_instance_uid: str | None
    user_id: int | None
    patient_id: str
    patient_name: str
    scan_date: str
    modalities: tuple[str, ...]
    source: Source
    status: ScanState
    failed_in: ScanState | None
    error_code: str | None
    error_text: str | None
    progress: int
    pipeline_step: str
    waiting_for: str
    results: dict[str, Any] | None
    run: int
    late: bool
    finding: str | None
    deleted_at: datetime | None
    deleted_by: str | None
    erased_at: datetime | None
    created_at: datetime
    updated_at: datetime


def scan_query() -> Select[Scan, str | None]:
    """Scans with their Study Instance UID, for `scan_row`."""
    return select(Scan, Study.study_instance_uid).outerjoin(Study, Scan.study_id == Study.id)


def scan_row(scan: Scan, study_instance_uid: str | None, *, with_results: bool = True) -> ScanRow:
    """The scan as it may leave this package; `results` is None where they were not asked for."""
    return detached(
        ScanRow,
        scan,
        study_instance_uid=study_instance_uid,
        modalities=tuple(scan.modalities),
        source=Source(scan.source),
        status=ScanState(scan.status),
        failed_in=ScanState(scan.failed_in) if scan.failed_in else None,
        results=scan.results if with_results else None,
    )
