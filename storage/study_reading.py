"""Studies as they are read back, and the roles their series are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import OPEN_STATES
from storage.rows import detached
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.study_rows import (
    ConflictRow,
    InstanceRow,
    ScanFacts,
    SeriesRow,
    StudyRow,
    conflict_row,
    instance_rows,
    series_row,
    series_rows,
)
from storage.tables import ConflictingObject, Instance, ResultObject, Scan, Series, Study
from storage.transitions import add_event, locked_scan


@dataclass(frozen=True, kw_only=True)
class SeriesRoleRecord:
    """What the role assignment says of one series: a role with its score and reasons, or why it was left out."""

    series_instance_uid: str
    role: str | None = None
    role_score: float | None = None
    role_reasons: tuple[str, ...] = ()
    excluded_reason: str | None = None


class StudyReading:
    """The part of `StudyRepository` that does not receive."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def open_scans(self) -> list[ScanRow]:
        """Scans the completeness rule watches (received, assembling), oldest first."""
        query = scan_query().where(Scan.status.in_([state.value for state in OPEN_STATES]))
        with self._database.read() as session:
            found = session.execute(query.order_by(Scan.created_at, Scan.id)).all()
            return [scan_row(scan, uid) for scan, uid in found]

    def scan_facts(self, scan_id: str) -> ScanFacts:
        """The scan with its study, series and instances, from one snapshot. Raises NotFound."""
        with self._database.read() as session:
            found = session.execute(scan_query().where(Scan.id == scan_id)).one_or_none()
            if found is None:
                raise NotFound("scan", scan_id)
            scan, uid = found
            if scan.study_id is None:
                return ScanFacts(scan=scan_row(scan, None), study=None, series=(), instances=(), conflicts=0)
            conflicts = select(func.count()).where(ConflictingObject.study_instance_uid == uid)
            return ScanFacts(
                scan=scan_row(scan, uid),
                study=detached(StudyRow, session.get_one(Study, scan.study_id)),
                series=series_rows(session, scan.study_id, own=False),
                instances=instance_rows(session, scan.study_id, own=False),
                conflicts=session.scalar(conflicts) or 0,
            )

    def latest_from(self, calling_ae: str) -> str | None:
        """Study Instance UID of the latest object that came from this calling AE title; None where none ever did."""
        query = (
            select(Study.study_instance_uid)
            .join(Series, Series.study_id == Study.id)
            .join(Instance, Instance.series_id == Series.id)
            .where(Instance.calling_ae == calling_ae)
            .order_by(Instance.id.desc())
            .limit(1)
        )
        with self._database.read() as session:
            return session.scalars(query).one_or_none()

    def study(self, study_instance_uid: str) -> StudyRow:
        """The study. Raises NotFound."""
        with self._database.read() as session:
            return detached(StudyRow, _study(session, study_instance_uid))

    def series_of(self, study_instance_uid: str, *, own: bool = False) -> list[SeriesRow]:
        """The series of a study in the order they first came. Raises NotFound."""
        with self._database.read() as session:
            return list(series_rows(session, _study(session, study_instance_uid).id, own=own))

    def instances_of(self, study_instance_uid: str, *, own: bool = False) -> list[InstanceRow]:
        """The instances of a study by series, instance number and UID; `own` adds the node's own. Raises NotFound."""
        with self._database.read() as session:
            return list(instance_rows(session, _study(session, study_instance_uid).id, own=own))

    def conflicts_of(self, study_instance_uid: str) -> list[ConflictRow]:
        """What was kept apart for this Study Instance UID, oldest first."""
        query = select(ConflictingObject).where(ConflictingObject.study_instance_uid == study_instance_uid)
        with self._database.read() as session:
            return [conflict_row(row) for row in session.scalars(query.order_by(ConflictingObject.id))]

    def returned_results(self, sop_instance_uids: Sequence[str]) -> dict[str, InstanceRow]:
        """Those of these SOP Instance UIDs that are results of this node and were received back before."""
        query = (
            select(Instance, Series.series_instance_uid)
            .join(Series, Instance.series_id == Series.id)
            .join(ResultObject, ResultObject.sop_instance_uid == Instance.sop_instance_uid)
            .where(Instance.sop_instance_uid.in_(sop_instance_uids))
        )
        with self._database.read() as session:
            return {
                found.sop_instance_uid: detached(InstanceRow, found, series_instance_uid=uid)
                for found, uid in session.execute(query)
            }

    def known_paths(self) -> set[str]:
        """Every relative path a row refers to: a received file that is not here was cut off before its row."""
        with self._database.read() as session:
            tables = (Instance.path, ConflictingObject.path, ResultObject.path)
            return {path for column in tables for path in session.scalars(select(column))}

    def set_roles(self, scan_id: str, roles: Sequence[SeriesRoleRecord], modalities: Sequence[str] = ()) -> None:
        """Keep what the role assignment decided, and the roles found as the scan's `modalities`. Raises NotFound."""
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            given = {role.series_instance_uid: role for role in roles}
            for series in session.scalars(select(Series).where(Series.series_instance_uid.in_(given))):
                role = given.pop(series.series_instance_uid)
                series.role, series.role_score = role.role, role.role_score
                series.role_reasons, series.excluded_reason = list(role.role_reasons), role.excluded_reason
            if given:
                raise NotFound("series", next(iter(given)))
            scan.modalities = list(modalities)
            scan.updated_at = self._clock()

    def override_role(self, scan_id: str, series_instance_uid: str, role: str | None, by: str) -> SeriesRow:
        """A person's word on the role of a series; None takes it back. Written to the events. Raises NotFound."""
        with self._database.write() as session:
            scan = locked_scan(session, scan_id)
            query = select(Series).where(
                Series.series_instance_uid == series_instance_uid, Series.study_id == scan.study_id
            )
            series = session.scalars(query).one_or_none()
            if series is None:
                raise NotFound("series of this scan", series_instance_uid)
            series.role_override = role
            text = f"series {series_instance_uid}: role {role or 'as the node decides'}, by {by}"
            add_event(session, scan_id, "role-override", text, self._clock(), {"role": role})
            return series_row(series)


def _study(session: Session, study_instance_uid: str) -> Study:
    study = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid)).one_or_none()
    if study is None:
        raise NotFound("study", study_instance_uid)
    return study
