"""All that the rows have of one patient: the scans, and objects kept apart under other patients' studies."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Text, cast, delete, func, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.columns import to_json
from storage.database import Database
from storage.engines import make_engine, translate
from storage.errors import Conflict
from storage.files import FileStore
from storage.holds import holds_on
from storage.retention_tables import Hold
from storage.scan_care import check_ended
from storage.tables import Base, ConflictingObject, Instance, Scan, Series, Study


@dataclass(frozen=True, kw_only=True)
class PatientScan:
    """One scan of a patient. obstacle: why it cannot be erased now, '' for nothing. files: relative paths."""

    scan_id: str
    deleted: bool
    obstacle: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PatientRows:
    """scans: not erased yet. words: what names the patient: ID, names, study UIDs; for a search, never for a log."""

    scans: tuple[PatientScan, ...]
    strays: tuple[str, ...]
    words: frozenset[str]


def rows_of_patient(database: Database, patient_id: str, issuer: str | None = None) -> PatientRows:
    """What is there of a Patient ID. issuer: only of this issuer; None is of any.

    Strays are paths of objects that came under another patient's study and were kept apart.
    """
    wanted = patient_id.strip()
    with database.read() as session:
        query = select(Study).where(func.trim(Study.patient_id) == wanted)
        if issuer is not None:
            query = query.where(Study.issuer_of_patient_id == issuer)
        studies = {study.id: study for study in session.scalars(query)}
        own = or_(Scan.study_id.in_(studies), (Scan.study_id.is_(None)) & (func.trim(Scan.patient_id) == wanted))
        scans = list(session.scalars(select(Scan).where(own, Scan.erased_at.is_(None)).order_by(Scan.id)))
        words = {wanted, *(study.study_instance_uid for study in studies.values())}
        words |= {study.patient_name for study in studies.values()} | {scan.patient_name for scan in scans}
        return PatientRows(
            scans=tuple(_scan(session, scan) for scan in scans),
            strays=tuple(stray.path for stray in _strays(session, wanted, studies)),
            words=frozenset(word for word in words if word),
        )


def erase_strays(database: Database, files: FileStore, patient_id: str) -> None:
    """Remove what was kept apart of this patient, file first. To be called again after a crash. Raises StorageError."""
    with database.write() as session:
        for stray in _strays(session, patient_id.strip(), {}):
            files.abspath(stray.path).unlink(missing_ok=True)
            session.execute(delete(ConflictingObject).where(ConflictingObject.id == stray.id))
        # A released hold still names the patient it was on.
        session.execute(delete(Hold).where(Hold.patient_id == patient_id.strip(), Hold.released_at.is_not(None)))


def names_of_patients(database: Database, scans: int, shortest: int = 4) -> frozenset[str]:
    """Patient IDs and names of the scans changed last, and the parts of the names.

    shortest: words of ASCII with fewer characters are left out, for other text is full of them; a name in other letters
    may be one character.
    """
    query = select(Scan.patient_id, Scan.patient_name).order_by(Scan.updated_at.desc()).limit(scans)
    with database.read() as session:
        told = [text for row in session.execute(query) for text in row]
    parts = {part for text in told for part in (text, *text.replace("^", " ").replace("=", " ").split())}
    return frozenset(part for part in parts if len(part) >= shortest or not part.isascii())


def tables_with(database: Database, words: frozenset[str]) -> list[str]:
    """The tables in which a value holds one of the words."""
    found = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            hits = [
                cast(column, Text).contains(said, autoescape=True)
                for column in table.columns
                for word in words
                for said in {word, to_json(word)[1:-1]}  # as a value, and as it stands within JSON
            ]
            if session.scalar(select(func.count()).select_from(table).where(or_(*hits))):
                found.append(table.name)
    return found


def compact(url: str) -> None:
    """Have the database give up deleted rows: SQLite writes its file anew, PostgreSQL frees the space for reuse.

    Raises:
        StorageError: it is busy or cannot be reached.
    """
    engine = make_engine(url)
    sqlite = engine.dialect.name == "sqlite"
    try:
        # Outside of any transaction, which an engine's own connections are never.
        connection = engine.raw_connection()
        if not sqlite:
            connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
        cursor = connection.cursor()
        for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)") if sqlite else ("VACUUM",):
            cursor.execute(statement)
        connection.close()
    except DBAPIError as error:
        raise translate(error) or error from error
    finally:
        engine.dispose()


def _strays(session: Session, patient_id: str, studies: dict[int, Study]) -> list[ConflictingObject]:
    own = {study.study_instance_uid for study in studies.values()}
    likely = cast(ConflictingObject.header, Text).contains(to_json(patient_id)[1:-1], autoescape=True)
    found = session.scalars(select(ConflictingObject).where(likely).order_by(ConflictingObject.id))
    theirs = [one for one in found if str(one.header.get("patient_id", "")).strip() == patient_id]
    return [one for one in theirs if one.study_instance_uid not in own]


def _scan(session: Session, scan: Scan) -> PatientScan:
    instances = select(Instance.path).join(Series, Instance.series_id == Series.id)
    paths = session.scalars(instances.where(Series.study_id == scan.study_id).order_by(Instance.path))
    return PatientScan(
        scan_id=scan.id, deleted=scan.deleted_at is not None, obstacle=_obstacle(session, scan), files=tuple(paths)
    )


def _obstacle(session: Session, scan: Scan) -> str:
    if session.scalars(holds_on(scan.id, scan.patient_id)).first() is not None:
        return "it, or its patient, is on hold: release the hold first"
    try:
        check_ended(session, scan)
    except Conflict as error:
        return str(error)
    return ""
