"""The earlier visits whose images can be laid on a scan's own, by what its report was compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.visits import VisitRow
from web.context import WebContext

_REPORT = "report.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlierVisit:
    """An earlier visit. to_visit: float64 (4, 4), from a point of the scan's reference to the visit's, RAS+ mm."""

    scan_id: str
    run_id: str
    day: str
    to_visit: NDArray[np.float64]


def earlier_visits(context: WebContext, run_id: str) -> list[EarlierVisit]:
    """Return the visits that a run's images can be compared with, the latest first.

    Each run knows how the one before it lies, so the way to an older one leads over those between. It ends where a run
    was made before alignments were kept.
    """
    found: list[EarlierVisit] = []
    to_visit = np.eye(4)
    seen = {run_id}
    while (step := _before(_report(context, run_id))) and step[0] not in seen:
        run_id, matrix = step
        seen.add(run_id)
        to_visit = matrix @ to_visit
        rows: list[VisitRow] = context.visits.of_runs((run_id,))
        if not rows:
            break
        day = str(rows[0].visit.get("day", ""))
        found.append(EarlierVisit(scan_id=rows[0].scan_id, run_id=run_id, day=day, to_visit=to_visit))
    return found


def _report(context: WebContext, run_id: str) -> Mapping[str, Any]:
    try:
        told = json.loads((context.files.run_folder(run_id) / _REPORT).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, Mapping) else {}


def _before(told: Mapping[str, Any]) -> tuple[str, NDArray[np.float64]] | None:
    """The run before, and the way there."""
    follow_up = told.get("follow_up") or {}
    visits, alignment = follow_up.get("visits") or [], follow_up.get("alignment") or {}
    rows = alignment.get("to_previous") or []
    if len(visits) < 2 or len(rows) != 4:
        return None
    return str(visits[-2].get("key", "")), np.array(rows, dtype=np.float64)
