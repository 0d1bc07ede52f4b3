from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.models.training import volume_prepared, volume_release
from pipeline.models.training.volume_prepared import prepared_study
from pipeline.preparation import PreparedStudy
from pipeline.volume import Grid, SeriesRole, Volume


def _head(shift: float = 0.0) -> dict[SeriesRole, Volume]:
    axes = np.indices((40, 40, 40)) * 4.0 - 80.0
    ball = np.linalg.norm(axes, axis=0) < 66
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -80
    grid = Grid(shape=ball.shape, affine=affine)
    return {
        role: Volume(voxels=np.where(ball, 200 + 40 * number + axes[0] + shift, 0).astype(np.float32), grid=grid)
        for number, role in enumerate((SeriesRole.T1CE, SeriesRole.FLAIR))
    }


def test_a_kept_study_is_the_one_that_was_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    prepare: Callable[..., PreparedStudy] = volume_prepared.prepare

    def counted(*arguments: Any) -> PreparedStudy:
        calls.append(1)
        return prepare(*arguments)

    monkeypatch.setattr(volume_prepared, "prepare", counted)
    first = prepared_study(_head(), tmp_path)
    again = prepared_study(_head(), tmp_path)
    assert len(calls) == 1
    assert again.transforms.keys() == first.transforms.keys()
    for one, other in zip(first.channels(8.0), again.channels(8.0), strict=True):
        if isinstance(one, Grid):
            assert one.same_as(other)  # type: ignore[arg-type]
        else:
            assert np.array_equal(one, other)  # type: ignore[arg-type]
    prepared_study(_head(shift=1.0), tmp_path)
    assert len(calls) == 2


def test_figures_of_the_same_weights_are_measured_once(tmp_path: Path) -> None:
    arguments = argparse.Namespace(figures=str(tmp_path / "figures.json"))
    measured: list[int] = []

    def measure() -> dict[str, Any]:
        measured.append(1)
        return {"dice": len(measured)}

    known = volume_release._known
    assert known(arguments, "volumes", "a" * 64, measure) == {"dice": 1}
    assert known(arguments, "volumes", "a" * 64, measure) == {"dice": 1}
    assert known(arguments, "heads", "a" * 64, measure) == {"dice": 2}
    assert known(arguments, "volumes", "b" * 64, measure) == {"dice": 3}
    stored = json.loads((tmp_path / "figures.json").read_text())
    assert {kind: part["sha256"][0] for kind, part in stored.items()} == {"volumes": "b", "heads": "a"}
