"""`evaluate_slices`' figures as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def slice_table(figures: Mapping[str, Any]) -> str:
    """The dict of `evaluate_slices` (or `summarise`) as plain tables; a dash for a missing figure."""
    parts = []
    if "detection" in figures:
        part = figures["detection"]
        columns = ("slices", "accuracy", "AUC", "AUC 95 % CI", "sensitivity", "specificity", "ECE")
        rows = [
            (
                name,
                one["slices"],
                one["accuracy"],
                one["auc"],
                " - ".join(map(_cell, one["auc_ci95"])),
                one["sensitivity"],
                one["specificity"],
                one["ece"],
            )
            for name, one in _named(part)
        ]
        parts.append(_table(("detection", *columns), rows))
    if "type" in figures:
        part = figures["type"]
        header = ("tumour type", "slices", "accuracy", "ECE", *(f"recall {name}" for name in part["overall"]["recall"]))
        parts.append(
            _table(
                header,
                [
                    (name, one["slices"], one["accuracy"], one["ece"], *one["recall"].values())
                    for name, one in _named(part)
                ],
            )
        )
        parts.append(_confusion("true \\ answered", part["overall"]["confusion"]))
        patients = part["per_patient"]
        parts.append(
            f"tumour type per patient: accuracy {_cell(patients['accuracy'])} over {patients['patients']} patients "
            "(mean probability over the patient's tumour slices)"
        )
        parts.append(_confusion("patients: true \\ answered", patients["confusion"]))
    if figures.get("unreadable"):
        parts.append(f"{len(figures['unreadable'])} pictures could not be read: {', '.join(figures['unreadable'][:5])}")
    return "\n\n".join(parts)


def _named(part: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("all", part["overall"]), *part["per_dataset"].items()]


def _confusion(title: str, confusion: Mapping[str, Any]) -> str:
    rows = [(name, *counts) for name, counts in zip(confusion["classes"], confusion["matrix"], strict=True)]
    return _table((title, *confusion["classes"]), rows)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if n == 0 else text.rjust(width)
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
