"""The evaluation of volumes as a plain-text table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import Region

_HEADER = ("case", "region", "Dice", "HD95 mm", "truth mL", "answer mL", "error mL", "error %")


def render_volumes_table(result: Mapping[str, Any]) -> str:
    """A table of what `evaluate_volumes` returned, a line for each case and region, means last.

    A region that a case does not have shows the answer's volume as an error and no Dice.
    """
    lines = [_HEADER]
    notes = []
    for row in result["cases"]:
        if row["regions"] is None:
            notes.append(f"{row['case']}: not scored: {row['not_scored']}")
            continue
        if row["answer"]:
            notes.append(f"{row['case']}: scored as empty: {row['answer']}")
        for region in Region:
            score = row["regions"][region.value]
            lines.append(
                (
                    row["case"],
                    region.value,
                    _number(score["dice"], 3),
                    _number(score["hd95_mm"], 1),
                    _number(score["truth_volume_ml"], 2),
                    _number(score["volume_ml"], 2),
                    _number(score["volume_error_ml"], 2),
                    _number(score["volume_error_percent"], 1),
                )
            )
    for region in Region:
        mean = result["mean"][region.value]
        lines.append(
            (
                f"mean of {mean['cases']} (errors without sign)",
                region.value,
                _number(mean["dice"], 3),
                _number(mean["hd95_mm"], 1),
                "",
                "",
                _number(mean["volume_error_ml"], 2),
                _number(mean["volume_error_percent"], 1),
            )
        )
        if mean["cases_without"]:
            volume = _number(mean["false_volume_ml"], 2)
            notes.append(f"{region.value}: {mean['cases_without']} cases without it, mean false volume {volume} mL")
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    table = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(len(line) for line in table)
    return "\n".join([table[0], rule, *table[1:], *([rule, *notes] if notes else [])])


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
