"""Figures of analyses that ended, for the metrics: seconds by stage and the codes of what was flagged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import literal, select, tuple_

from storage.clock import Clock, utc_now
from storage.columns import UtcDateTime
from storage.database import Database
from storage.tables import Run
from storage.vocabulary import RunState


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """One analysis that ended. `seconds` by stage; `flags`: codes in the report; `skipped`: (stage, code)."""

    run_id: str
    ended_at: datetime
    state: RunState
    seconds: Mapping[str, float]
    flags: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


class RunFigureRepository:
    """Analyses as they end."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> datetime:
        """The time of the clock that stamps runs."""
        return self._clock()

    def ended_since(self, at: datetime, run_id: str = "", limit: int = 500) -> list[RunFigures]:
        """Runs that ended after (`at`, `run_id`), the longest ago first."""
        later = tuple_(Run.ended_at, Run.id) > tuple_(literal(at, UtcDateTime()), literal(run_id))
        columns = (Run.id, Run.ended_at, Run.state, Run.timings, Run.results)
        query = select(*columns).where(Run.ended_at.is_not(None), later).order_by(Run.ended_at, Run.id).limit(limit)
        with self._database.read() as session:
            return [
                RunFigures(
                    run_id=found_id,
                    ended_at=ended_at,
                    state=RunState(state),
                    seconds={str(stage): float(seconds) for stage, seconds in (timings or {}).items()},
                    flags=_flags(results or {}),
                    skipped=_skipped(results or {}),
                )
                for found_id, ended_at, state, timings, results in session.execute(query)
                if ended_at is not None
            ]


def _flags(results: Mapping[str, object]) -> tuple[str, ...]:
    flags = results.get("flags")
    return tuple(str(flag["code"]) for flag in flags if "code" in flag) if isinstance(flags, list) else ()


def _skipped(results: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    parts = (part for part in results.values() if isinstance(part, dict) and part.get("skipped") is True)
    return tuple((str(part.get("stage", "")), str(part.get("code", ""))) for part in parts)
