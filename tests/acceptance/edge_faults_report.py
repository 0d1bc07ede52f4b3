"""The table of an edge fault campaign, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

_HEADS = (
    "fault",
    "rounds",
    "struck",
    "acknowledged",
    "lost",
    "delivered",
    "committed",
    "copies",
    "loops",
    "changed",
    "median s",
)

_TEXT = """Each round is a study of one small series through a whole node (listener, index, worker, outbox) to a PACS,
with one fault. *struck*: the fault really happened. *lost*: acknowledged objects that have no row and file with their
bytes. *copies*: SEG and SR at the PACS beyond one each, or missing. *loops*: analyses beyond the first. *changed*:
times an object reached the PACS again with other bytes. *committed*: of two results a round."""


def report(rounds: Sequence[Any], seed: int) -> str:
    """Each kind and all together. rounds: of `edge_faults.EdgeRound`."""
    kinds = list(dict.fromkeys(one.kind for one in rounds))
    bad = [f"- round {one.number}: {one}" for one in rounds if not one.good]
    lines = [
        "# Faults at the DICOM edge",
        "",
        f"`python -m tests.acceptance.edge_faults --rounds {len(rounds)} --seed {seed}`",
        "",
        _TEXT,
        "",
        _row(_HEADS),
        _row(["---", *["---:"] * (len(_HEADS) - 1)]),
        *(_row(_figures(kind, [one for one in rounds if one.kind == kind])) for kind in kinds),
        _row(_figures("**all**", rounds)),
        "",
        *(["Rounds that ended otherwise than they should:", "", *bad] if bad else ["Every round ended as it should."]),
        "",
    ]
    return "\n".join(lines)


def _figures(name: str, rounds: Sequence[Any]) -> list[object]:
    return [
        name,
        len(rounds),
        sum(one.struck for one in rounds),
        sum(one.acknowledged for one in rounds),
        sum(one.lost for one in rounds),
        sum(one.status == "delivered" for one in rounds),
        sum(one.committed for one in rounds),
        sum(one.copies for one in rounds),
        sum(one.runs - 1 for one in rounds),
        sum(one.changed for one in rounds),
        f"{statistics.median(one.seconds for one in rounds):.0f}",
    ]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
