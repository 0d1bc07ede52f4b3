"""Answers of models, run by run, and the pairs of them that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import NotFound
from storage.model_agreement import AnswerPair, Version
from storage.model_tables import ModelAnswer
from storage.rows import detached
from storage.tables import Run
from storage.vocabulary import AnswerMode


@dataclass(frozen=True, kw_only=True)
class ModelAnswerRecord:
    """One answer; see `model_tables.ModelAnswer`. `answer` is {'value', ...}, `agreement` {'same_value', ...}."""

    run_id: str
    task: str
    name: str
    version: str
    sha256: str
    mode: AnswerMode
    answer: dict[str, Any] | None
    agreement: dict[str, Any] | None
    seconds: float
    peak_memory_mb: float
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelAnswerRow(ModelAnswerRecord):
    """An answer as stored."""

    id: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class AnswerTally:
    """All answers of one version in one mode. values: how often it gave which value."""

    version: Version
    mode: AnswerMode
    answers: int
    errors: int
    mean_seconds: float | None
    first_at: datetime
    last_at: datetime
    values: Mapping[str, int] = field(default_factory=dict)


class ModelAnswerRepository:
    """One row a run and version of a model."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def upsert(self, record: ModelAnswerRecord) -> ModelAnswerRow:
        """Keep the answer; a second attempt of the same run replaces it. Raises NotFound: no such run."""
        return self._database.run(lambda session: self._upsert(session, record))

    def _upsert(self, session: Session, record: ModelAnswerRecord) -> ModelAnswerRow:
        if session.get(Run, record.run_id) is None:
            raise NotFound("run", record.run_id)
        query = select(ModelAnswer).filter_by(
            run_id=record.run_id, task=record.task, name=record.name, version=record.version, sha256=record.sha256
        )
        found = session.scalars(query.with_for_update()).one_or_none()
        if found is None:
            found = ModelAnswer(run_id=record.run_id, task=record.task, name=record.name, version=record.version)
            found.sha256 = record.sha256
            session.add(found)
        found.mode, found.answer, found.agreement = record.mode.value, record.answer, record.agreement
        found.seconds, found.peak_memory_mb, found.error = record.seconds, record.peak_memory_mb, record.error
        found.created_at = self._clock()
        session.flush()
        return _row(found)

    def of_run(self, run_id: str) -> list[ModelAnswerRow]:
        """The answers of one run, in the order they were first recorded."""
        query = select(ModelAnswer).where(ModelAnswer.run_id == run_id).order_by(ModelAnswer.id)
        with self._database.read() as session:
            return [_row(found) for found in session.scalars(query)]

    def pairs(self) -> list[AnswerPair]:
        """Every shadow answer beside the one that was sent in the same run, oldest first."""
        sent = aliased(ModelAnswer)
        query = (
            select(ModelAnswer, sent)
            .join(sent, (sent.run_id == ModelAnswer.run_id) & (sent.task == ModelAnswer.task))
            .where(ModelAnswer.mode == AnswerMode.SHADOW.value, sent.mode != AnswerMode.SHADOW.value)
            .where(ModelAnswer.error == "", sent.error == "")
            .order_by(ModelAnswer.created_at, ModelAnswer.id)
        )
        with self._database.read() as session:
            return [_pair(shadow, reference) for shadow, reference in session.execute(query)]

    def tallies(self) -> list[AnswerTally]:
        """What each version answered, in each mode, by task, name and version."""
        groups: dict[tuple[Version, AnswerMode], list[ModelAnswer]] = {}
        with self._database.read() as session:
            for row in session.scalars(select(ModelAnswer).order_by(ModelAnswer.created_at)):
                groups.setdefault((_version(row), AnswerMode(row.mode)), []).append(row)
            return [_tally(*key, groups[key]) for key in sorted(groups, key=lambda key: (*key[0].order, key[1]))]


def _row(found: ModelAnswer) -> ModelAnswerRow:
    return detached(ModelAnswerRow, found, mode=AnswerMode(found.mode))


def _version(row: ModelAnswer) -> Version:
    return Version(task=row.task, name=row.name, version=row.version, sha256=row.sha256)


def _pair(shadow: ModelAnswer, reference: ModelAnswer) -> AnswerPair:
    agreement = shadow.agreement or {}
    return AnswerPair(
        version=_version(shadow),
        reference=_version(reference),
        value=str((shadow.answer or {}).get("value")),
        reference_value=str((reference.answer or {}).get("value")),
        dice=agreement.get("dice", {}),
        volume_difference_ml=agreement.get("volume_difference_ml", {}),
        at=shadow.created_at,
    )


def _tally(version: Version, mode: AnswerMode, rows: list[ModelAnswer]) -> AnswerTally:
    answered = [row for row in rows if row.answer is not None]
    return AnswerTally(
        version=version,
        mode=mode,
        answers=len(answered),
        errors=len(rows) - len(answered),
        mean_seconds=sum(row.seconds for row in answered) / len(answered) if answered else None,
        first_at=rows[0].created_at,
        last_at=rows[-1].created_at,
        values=dict(Counter(str(row.answer.get("value")) for row in answered if row.answer)),
    )
