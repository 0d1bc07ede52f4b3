"""A patient's visits, for follow-up: what was there before a study, and the series of dates for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import ScanState
from storage.reviews import rejected_runs
from storage.tables import Run, Scan, Study
from storage.visit_tables import PatientVisit
from storage.vocabulary import RunState

_ON_THEIR_WAY = (
    ScanState.RECEIVED,
    ScanState.ASSEMBLING,
    ScanState.READY,
    ScanState.ANALYSING,
    ScanState.REPORTING,
)


@dataclass(frozen=True, kw_only=True)
class VisitRow:
    """One visit as stored. See `storage.visit_tables.PatientVisit`."""

    run_id: str
    scan_id: str
    study_instance_uid: str
    study_date: str
    visit: dict[str, Any]
    diameters: dict[str, Any] | None
    volume: dict[str, Any] | None
    created_at: datetime


class VisitRepository:
    """One row a run. A patient is a Patient ID with its issuer; without a Patient ID nobody is the same person."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def keep(
        self,
        run_id: str,
        visit: dict[str, Any],
        *,
        diameters: dict[str, Any] | None = None,
        volume: dict[str, Any] | None = None,
    ) -> None:
        """Keep what a run says; a second attempt of the same run replaces it. Raises NotFound: no such DICOM run."""
        with self._database.write() as session:
            query = select(Study).join(Scan, Scan.study_id == Study.id).join(Run, Run.scan_id == Scan.id)
            study = session.scalars(query.where(Run.id == run_id)).one_or_none()
            if study is None:
                raise NotFound("run of a DICOM study", run_id)
            found = session.get(PatientVisit, run_id, with_for_update=True)
            if found is None:
                found = PatientVisit(run_id=run_id, study_id=study.id, created_at=self._clock())
                session.add(found)
            found.study_date, found.visit = study.study_date, visit
            found.diameters, found.volume = diameters, volume

    def timeline(self, patient_id: str, issuer_of_patient_id: str = "") -> list[VisitRow]:
        """The visits of a patient, oldest study first: of each study what its present run says, once that is done."""
        if not patient_id.strip():
            return []
        query = _present().where(Study.patient_id == patient_id, Study.issuer_of_patient_id == issuer_of_patient_id)
        with self._database.read() as session:
            found = session.execute(query.order_by(PatientVisit.study_date, Study.study_instance_uid))
            return [_row(visit, scan_id, uid) for visit, scan_id, uid in found]

    def before(self, study_instance_uid: str) -> list[VisitRow]:
        """The visits of the same patient on days before this study's, oldest first. Raises NotFound."""
        with self._database.read() as session:
            query = select(Study).where(Study.study_instance_uid == study_instance_uid)
            study = session.scalars(query).one_or_none()
            if study is None:
                raise NotFound("study", study_instance_uid)
            patient_id, issuer, day = study.patient_id, study.issuer_of_patient_id, study.study_date
        # One visit a day: of two studies of one day nobody knows which came first.
        by_day = {row.study_date: row for row in self.timeline(patient_id, issuer) if row.study_date < day}
        return [by_day[earlier] for earlier in sorted(by_day) if earlier]

    def on_their_way(self, study_instance_uid: str) -> int:
        """How many studies of the same patient from earlier days are here and not analysed yet."""
        with self._database.read() as session:
            study = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid)).one_or_none()
            if study is None or not study.patient_id.strip():
                return 0
            query = select(func.count()).select_from(Scan).join(Study, Scan.study_id == Study.id)
            query = query.where(
                Study.patient_id == study.patient_id,
                Study.issuer_of_patient_id == study.issuer_of_patient_id,
                Study.study_date < study.study_date,
                Scan.status.in_([state.value for state in _ON_THEIR_WAY]),
            )
            return session.scalar(query) or 0

    def of_runs(self, run_ids: tuple[str, ...]) -> list[VisitRow]:
        """The visits of these runs, in this order; runs without one are left out."""
        query = _joined().where(PatientVisit.run_id.in_(run_ids))
        with self._database.read() as session:
            rows = {visit.run_id: _row(visit, scan_id, uid) for visit, scan_id, uid in session.execute(query)}
        return [rows[run_id] for run_id in run_ids if run_id in rows]


def _joined() -> Select[PatientVisit, str, str]:
    return (
        select(PatientVisit, Run.scan_id, Study.study_instance_uid)
        .join(Run, Run.id == PatientVisit.run_id)
        .join(Study, Study.id == PatientVisit.study_id)
    )


def _present() -> Select[PatientVisit, str, str]:
    """What a study's present run says, where no radiologist rejected it."""
    query = _joined().join(Scan, Scan.id == Run.scan_id).where(Scan.run == Run.number)
    return query.where(Run.state == RunState.DONE.value, Run.id.not_in(rejected_runs()))


def _row(visit: PatientVisit, scan_id: str, study_uid: str) -> VisitRow:
    return VisitRow(
        run_id=visit.run_id,
        scan_id=scan_id,
        study_instance_uid=study_uid,
        study_date=visit.study_date,
        visit=visit.visit,
        diameters=visit.diameters,
        volume=visit.volume,
        created_at=visit.created_at,
    )
