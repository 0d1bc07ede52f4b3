"""The kill campaign's report in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.acceptance.kill_batches import Batch, total_kills


def report(batches: Sequence[Batch], database: str, workers: int, seed: int) -> str:
    """Totals, then kills by place."""
    kills = total_kills(list(batches))
    total = sum(kills.values())
    figures = {
        "kills": total,
        "studies": sum(batch.studies for batch in batches),
        "acknowledged instances": sum(batch.acknowledged for batch in batches),
        "of them lost": sum(batch.lost for batch in batches),
        "studies stuck": sum(batch.stuck for batch in batches),
        "objects at the PACS twice, missing or changed": sum(batch.duplicates for batch in batches),
        "analyses beyond one a study": sum(batch.runs for batch in batches),
        "CPU s a kill, everything included": f"{sum(batch.cpu_s for batch in batches) / max(total, 1):.2f}",
    }
    lines = [f"### {database}, {workers} worker{'s' * (workers > 1)}, seed {seed}, {len(batches)} batches", ""]
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in figures.items())]
    lines += ["", "| killed | times |", "| --- | --- |"]
    lines += [f"| {place} | {times} |" for place, times in sorted(kills.items())]
    return "\n".join(lines) + "\n"
