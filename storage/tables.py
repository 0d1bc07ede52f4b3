"""The tables. Accounts and scans as the API shows them, over the DICOM information model and what is owed to whom.

Only the repositories of this package touch these classes; rows leave as frozen dataclasses.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage.columns import CleanText, UtcDateTime
from storage.lifecycle import ScanState
from storage.vocabulary import AccountStatus, ConflictKind, DeliveryState, RequestKind, Role, RunState, Source

Json = dict[str, Any]


class Base(DeclarativeBase):
    """Every constraint has a derived name, so that SQLite's batch migrations can find it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads a plain class attribute)
        str: CleanText,
        datetime: UtcDateTime,
        Json: JSON,
        list[str]: JSON,
    }


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """The constraint that a column holds one of these words."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(word.value) for word in words)})", name=column)


class User(Base):
    """An account. `username_key` and `email` are the normalised forms that must be unique."""

    __tablename__ = "users"
    __table_args__ = (one_of("role", Role), one_of("status", AccountStatus))
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    username_key: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(unique=True)
    hashed_password: Mapped[str]
    full_name: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    department: Mapped[str] = mapped_column(default="")
    institution: Mapped[str] = mapped_column(default="")
    role: Mapped[str]
    status: Mapped[str]
    token_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]


class Study(Base):
    """A DICOM study of one patient. `last_received_at` moves only when something new came."""

    __tablename__ = "studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    patient_id: Mapped[str] = mapped_column(index=True)
    issuer_of_patient_id: Mapped[str]
    patient_name: Mapped[str]
    study_date: Mapped[str]
    study_description: Mapped[str]
    accession_number: Mapped[str]
    calling_ae: Mapped[str]
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]


class Series(Base):
    """A DICOM series and the role the node, or a person, gave it."""

    __tablename__ = "series"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(unique=True)
    modality: Mapped[str]
    series_description: Mapped[str]
    own_object: Mapped[bool] = mapped_column(default=False)
    role: Mapped[str | None]
    role_score: Mapped[float | None]
    role_reasons: Mapped[list[str]] = mapped_column(default=list)
    role_override: Mapped[str | None]
    excluded_reason: Mapped[str | None]
    last_received_at: Mapped[datetime]


class Instance(Base):
    """One stored SOP instance. `path` is relative to the storage root."""

    __tablename__ = "instances"
    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    sop_class_uid: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    instance_number: Mapped[int | None] = mapped_column(BigInteger)
    path: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    calling_ae: Mapped[str]
    header: Mapped[Json]
    own_object: Mapped[bool] = mapped_column(default=False)
    received_at: Mapped[datetime]


class ConflictingObject(Base):
    """An object that contradicts what is stored: its file is kept, apart, and never analysed."""

    __tablename__ = "conflicts"
    __table_args__ = (UniqueConstraint("sop_instance_uid", "sha256"), one_of("kind", ConflictKind))
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    sop_instance_uid: Mapped[str]
    series_instance_uid: Mapped[str]
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    scan_id: Mapped[str | None] = mapped_column(ForeignKey("scans.id"))
    path: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    calling_ae: Mapped[str]
    header: Mapped[Json]
    received_at: Mapped[datetime]


class Scan(Base):
    """What people see: one study (or upload) on its way through the node. `late`: something came during a run.

    `finding`: the result in one line. `deleted_at`: out of sight until something new comes. `erased_at`: the patient's
    data is gone and this row is what the audit trail still points at.
    """

    __tablename__ = "scans"
    __table_args__ = (
        one_of("status", ScanState),
        one_of("source", Source),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        Index(None, "created_at", "id"),
        Index(None, "updated_at", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("studies.id"), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    patient_id: Mapped[str] = mapped_column(index=True)
    patient_name: Mapped[str]
    scan_date: Mapped[str]
    modalities: Mapped[list[str]] = mapped_column(default=list)
    source: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    failed_in: Mapped[str | None]
    error_code: Mapped[str | None]
    error_text: Mapped[str | None]
    progress: Mapped[int] = mapped_column(default=0)
    pipeline_step: Mapped[str] = mapped_column(default="")
    waiting_for: Mapped[str] = mapped_column(default="")
    results: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    run: Mapped[int] = mapped_column(default=0)
    late: Mapped[bool] = mapped_column(default=False)
    finding: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]
    erased_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Run(Base):
    """One analysis of frozen inputs. `id` is '<scan id>-<n>'. `priors`: earlier runs it is compared with."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("scan_id", "inputs_digest"), one_of("state", RunState))
    id: Mapped[str] = mapped_column(primary_key=True)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"))
    number: Mapped[int]
    inputs: Mapped[list[str]]
    inputs_digest: Mapped[str]
    state: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    timings: Mapped[Json] = mapped_column(default=dict)
    results: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    priors: Mapped[list[str]] = mapped_column(default=list)


class ResultObject(Base):
    """A DICOM object a run made. Its SOP Instance UID is derived, so a second attempt meets the same row."""

    __tablename__ = "result_objects"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    kind: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    sop_class_uid: Mapped[str]
    series_instance_uid: Mapped[str]
    path: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime]


class Delivery(Base):
    """The outbox: one row an object and destination. `next_attempt_at` is also the lease of whoever sends it now."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("result_object_id", "destination"),
        Index(None, "state", "next_attempt_at"),
        one_of("state", DeliveryState),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    result_object_id: Mapped[int] = mapped_column(ForeignKey("result_objects.id"))
    destination: Mapped[str]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class Event(Base):
    """What happened, and to which scan. Rows are only ever added. `sha256` chains those of the audit trail."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "scan_id", "id"), Index(None, "kind", "id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[str | None] = mapped_column(ForeignKey("scans.id"))
    at: Mapped[datetime]
    kind: Mapped[str]
    text: Mapped[str]
    data: Mapped[Json] = mapped_column(default=dict)
    sha256: Mapped[str | None]


class Request(Base):
    """What a person asked for on the dashboard; the worker finds it and marks it handled."""

    __tablename__ = "requests"
    __table_args__ = (one_of("kind", RequestKind),)
    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"), index=True)
    kind: Mapped[str]
    payload: Mapped[Json] = mapped_column(default=dict)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    handled_at: Mapped[datetime | None] = mapped_column(index=True)


class Heartbeat(Base):
    """The last sign of life of a process, by its stable executor id."""

    __tablename__ = "heartbeats"
    executor_id: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    at: Mapped[datetime]
