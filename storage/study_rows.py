"""Studies, series, instances and conflicting objects as they leave this package."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.rows import detached
from storage.scan_rows import ScanRow
from storage.tables import ConflictingObject, Instance, Series
from storage.vocabulary import ConflictKind


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One DICOM study. Dates are the DICOM text, untouched."""

    id: int
    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    study_date: str
    study_description: str
    accession_number: str
    calling_ae: str
    first_received_at: datetime
    last_received_at: datetime


@dataclass(frozen=True, kw_only=True)
class SeriesRow:
    """One series. `role` is what the node decided; `role_override`, where set, what a person did."""

    id: int
    study_id: int
    series_instance_uid: str
    modality: str
    series_description: str
    own_object: bool
    role: str | None
    role_score: float | None
    role_reasons: tuple[str, ...]
    role_override: str | None
    excluded_reason: str | None
    last_received_at: datetime


@dataclass(frozen=True, kw_only=True)
class InstanceRow:
    """One stored instance. `path` is relative to the storage root; `header` as the receiver gave it."""

    id: int
    series_id: int
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    path: str
    size: int
    sha256: str
    calling_ae: str
    header: dict[str, Any]
    own_object: bool
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConflictRow:
    """An object kept apart because it contradicts what is stored."""

    id: int
    kind: ConflictKind
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    scan_id: str | None
    path: str
    size: int
    sha256: str
    calling_ae: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class ScanFacts:
    """All the completeness rule and the role assignment need to know of a scan, on one snapshot.

    The node's own objects that came back are in neither tuple. `study` is None for an upload of NIfTI.
    """

    scan: ScanRow
    study: StudyRow | None
    series: tuple[SeriesRow, ...]
    instances: tuple[InstanceRow, ...]
    conflicts: int


def series_row(series: Series) -> SeriesRow:
    """The series as it may leave this package."""
    return detached(SeriesRow, series, role_reasons=tuple(series.role_reasons))


def series_rows(session: Session, study_id: int, *, own: bool) -> tuple[SeriesRow, ...]:
    """The series of a study in the order they first came; those of the node's own objects where `own`."""
    query = select(Series).where(Series.study_id == study_id).order_by(Series.id)
    if not own:
        query = query.where(Series.own_object.is_(False))
    return tuple(series_row(series) for series in session.scalars(query))


def instance_rows(session: Session, study_id: int, *, own: bool) -> tuple[InstanceRow, ...]:
    """The instances of a study by series, number and UID; those made by the node where `own`."""
    query = (
        select(Instance, Series.series_instance_uid)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == study_id)
        .order_by(Series.id, Instance.instance_number, Instance.sop_instance_uid)
    )
    if not own:
        query = query.where(Instance.own_object.is_(False))
    return tuple(detached(InstanceRow, found, series_instance_uid=uid) for found, uid in session.execute(query))


def conflict_row(conflict: ConflictingObject) -> ConflictRow:
    """The conflict as it may leave this package."""
    return detached(ConflictRow, conflict, kind=ConflictKind(conflict.kind))
