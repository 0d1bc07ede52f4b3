"""Prepared cases kept in one file, because finding the brain in a hundred heads takes minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.models.training.volume_cases import TrainingCase

_ARRAYS = ("image", "present", "regions", "known", "spacing_mm")


def cached_cases(path: Path, make: Callable[[], list[TrainingCase]]) -> list[TrainingCase]:
    """The cases in `path`; where it does not exist, those that `make` gives, which it then holds.

    Delete the file when the data or the code that prepares them changed.
    """
    if not path.exists():
        _write(path, make())
    return _read(path)


def _write(path: Path, cases: list[TrainingCase]) -> None:
    arrays: dict[str, Any] = {"names": np.array([f"{case.kind} {case.name}" for case in cases])}
    for number, case in enumerate(cases):
        arrays |= {f"{word}_{number}": np.asarray(getattr(case, word)) for word in _ARRAYS}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part.npz")
    np.savez(aside, **arrays)
    aside.replace(path)


def _read(path: Path) -> list[TrainingCase]:
    cases = []
    with np.load(path) as stored:
        for number, label in enumerate(stored["names"]):
            kind, name = str(label).split(" ", 1)
            values = {word: stored[f"{word}_{number}"] for word in _ARRAYS}
            first, second, third = (float(side) for side in values.pop("spacing_mm"))
            cases.append(TrainingCase(name=name, kind=kind, spacing_mm=(first, second, third), **values))
    return cases
