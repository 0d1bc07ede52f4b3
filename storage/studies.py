"""Receiving: one transaction an instance, which says whether it is new, known, or contradicts what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.restoring import restore
from storage.scan_opening import scan_for_instance
from storage.study_reading import StudyReading
from storage.tables import ConflictingObject, Instance, ResultObject, Scan, Series, Study
from storage.transitions import add_event
from storage.vocabulary import ConflictKind

#: DICOM's IS holds -2^31 to 2^31-1; anything else is a peer's mistake.
_IS_LIMIT = 2**31


@dataclass(frozen=True, kw_only=True)
class InstanceRecord:
    """One received instance whose file is already on disk and synced.

    path: relative to the storage root. size: bytes. sha256: of the file. own_object: made by this node.
    upload_scan_id: the scan made for the upload it came in; it becomes the study's scan where the study has none.
    received_at: when it came, None for now. A study is quiet since its last row was made, not since this.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    series_description: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    study_date: str = ""
    study_description: str = ""
    accession_number: str = ""
    instance_number: int | None = None
    path: str
    size: int
    sha256: str
    calling_ae: str = ""
    header: dict[str, Any] = field(default_factory=dict)
    own_object: bool = False
    upload_scan_id: str | None = None
    received_at: datetime | None = None


class Outcome(StrEnum):
    """`conflict`: this SOP Instance UID is stored with other bytes. `identity-conflict`: its study is another
    patient's, or its series another study's. Both are kept apart and flagged.
    """

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IDENTITY_CONFLICT = "identity-conflict"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of an instance. `path`: the stored file, for a duplicate the first one's unless it is restored.

    `scan_id` is None for the node's own object of a study without a scan. `amended`: a scan at an end assembles again.
    `restored`: its file had been removed by policy, and has to be put in its place before it is acknowledged.
    """

    outcome: Outcome
    path: str
    scan_id: str | None
    amended: bool = False
    restored: bool = False


class StudyRepository(StudyReading):
    """Studies, series and instances."""

    def record_instance(self, record: InstanceRecord) -> Recorded:
        """Commit one instance with its study, series and scan. Safe from any number of threads and processes.

        A duplicate changes nothing. The node's own object makes and moves no scan and restarts no timer. A new instance
        for a scan at an end, or about to start, sends it back to assembling; during a run it is noted, and the
        scan assembles again when the run is over.

        Raises:
            StorageBusy, StorageFull, StorageFault, StorageUnavailable: nothing was committed.
        """
        (recorded,) = self.record_instances([record])
        return recorded

    def record_instances(self, records: Sequence[InstanceRecord]) -> list[Recorded]:
        """Commit many instances in their order, all or none. Raises as `record_instance`."""
        if not records:
            return []
        return self._database.run(lambda session: [_record(session, record, self._clock()) for record in records])

    def move_instance(self, sop_instance_uid: str, path: str) -> None:
        """Say that the bytes of an instance are at another path, relative to the storage root."""
        moved = update(Instance).where(Instance.sop_instance_uid == sop_instance_uid).values(path=path)
        self._database.run(lambda session: session.execute(moved))


def _record(session: Session, record: InstanceRecord, now: datetime) -> Recorded:
    known = session.execute(
        select(Instance.sha256, Instance.path, Instance.id.label("instance_id"), Scan.id)
        .join(Series, Instance.series_id == Series.id)
        .outerjoin(Scan, Scan.study_id == Series.study_id)
        .where(Instance.sop_instance_uid == record.sop_instance_uid)
    ).one_or_none()
    if known is not None:
        if known.sha256 == record.sha256:
            restored, path = restore(session, known.instance_id, known.id, now), known.path
            if restored:
                # Its former place may be another object's by now; these bytes are where they were just put.
                session.get_one(Instance, known.instance_id).path = path = record.path
            return Recorded(outcome=Outcome.DUPLICATE, path=path, scan_id=known.id, restored=restored)
        return _keep_apart(session, record, ConflictKind.CONTENT, now)
    if not record.own_object and _is_result(session, record.sop_instance_uid):
        # A PACS may take our marks off an object; its UID still says whose it is.
        record = replace(record, own_object=True)
    study = session.scalars(select(Study).where(Study.study_instance_uid == record.study_instance_uid)).one_or_none()
    if study is not None and not _same_patient(study, record):
        return _keep_apart(session, record, ConflictKind.IDENTITY, now)
    series = session.scalars(
        select(Series).where(Series.series_instance_uid == record.series_instance_uid)
    ).one_or_none()
    if series is not None and (study is None or series.study_id != study.id):
        return _keep_apart(session, record, ConflictKind.HIERARCHY, now)

    study = study or _new_study(session, record, now)
    scan, amended = None, False
    if not record.own_object:
        scan, amended = scan_for_instance(session, study, record.series_instance_uid, record.upload_scan_id, now)
    series = series or _new_series(session, study, record, now)
    if not record.own_object:
        study.last_received_at = series.last_received_at = now
        series.own_object = False
    number = record.instance_number
    session.add(
        Instance(
            series_id=series.id,
            sop_instance_uid=record.sop_instance_uid,
            sop_class_uid=record.sop_class_uid,
            transfer_syntax_uid=record.transfer_syntax_uid,
            instance_number=number if number is not None and -_IS_LIMIT <= number < _IS_LIMIT else None,
            path=record.path,
            size=record.size,
            sha256=record.sha256,
            calling_ae=record.calling_ae,
            header=record.header,
            own_object=record.own_object,
            received_at=record.received_at or now,
        )
    )
    session.flush()
    scan_id = scan.id if scan else session.scalar(select(Scan.id).where(Scan.study_id == study.id))
    return Recorded(outcome=Outcome.NEW, path=record.path, scan_id=scan_id, amended=amended)


def _is_result(session: Session, sop_instance_uid: str) -> bool:
    query = select(ResultObject.id).where(ResultObject.sop_instance_uid == sop_instance_uid)
    return session.scalar(query) is not None


def _same_patient(study: Study, record: InstanceRecord) -> bool:
    """Padding does not count. An issuer counts only where both give one."""
    issuers = study.issuer_of_patient_id.strip(), record.issuer_of_patient_id.strip()
    return study.patient_id.strip() == record.patient_id.strip() and ("" in issuers or issuers[0] == issuers[1])


def _keep_apart(session: Session, record: InstanceRecord, kind: ConflictKind, now: datetime) -> Recorded:
    outcome = Outcome.CONFLICT if kind is ConflictKind.CONTENT else Outcome.IDENTITY_CONFLICT
    scan_id = session.scalar(
        select(Scan.id)
        .join(Study, Scan.study_id == Study.id)
        .where(Study.study_instance_uid == record.study_instance_uid)
    )
    kept = session.scalars(
        select(ConflictingObject).where(
            ConflictingObject.sop_instance_uid == record.sop_instance_uid, ConflictingObject.sha256 == record.sha256
        )
    ).one_or_none()
    if kept is None:
        kept = ConflictingObject(
            kind=kind.value,
            sop_instance_uid=record.sop_instance_uid,
            series_instance_uid=record.series_instance_uid,
            study_instance_uid=record.study_instance_uid,
            scan_id=scan_id,
            path=record.path,
            size=record.size,
            sha256=record.sha256,
            calling_ae=record.calling_ae,
            header=record.header,
            received_at=record.received_at or now,
        )
        session.add(kept)
        text = f"{kind.value} conflict: SOP instance {record.sop_instance_uid} was kept apart"
        add_event(session, scan_id, outcome.value, text, now, {"calling_ae": record.calling_ae})
        session.flush()
    return Recorded(outcome=outcome, path=kept.path, scan_id=scan_id)


def _new_study(session: Session, record: InstanceRecord, now: datetime) -> Study:
    study = Study(
        study_instance_uid=record.study_instance_uid,
        patient_id=record.patient_id,
        issuer_of_patient_id=record.issuer_of_patient_id,
        patient_name=record.patient_name,
        study_date=record.study_date,
        study_description=record.study_description,
        accession_number=record.accession_number,
        calling_ae=record.calling_ae,
        first_received_at=record.received_at or now,
        last_received_at=now,
    )
    session.add(study)
    session.flush()
    return study


def _new_series(session: Session, study: Study, record: InstanceRecord, now: datetime) -> Series:
    series = Series(
        study_id=study.id,
        series_instance_uid=record.series_instance_uid,
        modality=record.modality,
        series_description=record.series_description,
        own_object=record.own_object,
        last_received_at=now,
    )
    session.add(series)
    session.flush()
    return series
