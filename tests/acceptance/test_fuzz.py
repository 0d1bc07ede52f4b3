"""A little of the fuzz campaign on every run of the tests; `python -m tests.acceptance.fuzz_campaign` is all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from tests.acceptance.fuzz_campaign import SLOW_S, campaign, fuzz_files


@pytest.mark.parametrize("path", ["fast", "pynetdicom"])
def test_mutated_pdus_do_no_harm(tmp_path: Path, path: str) -> None:
    attacks, wrong, _ = campaign(tmp_path, path, 100, seed=5)
    assert wrong == []
    assert sum(attacks.ends.values()) == 100


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_do_no_harm(tmp_path: Path) -> None:
    study = make_study(3, "siemens", size="small", clutter=False, roles=(SeriesRole.T1,), salt="fuzz")
    images = list(write_study(tmp_path / "study", study)[0].paths[:6])
    found = fuzz_files(tmp_path / "files", images, 300, seed=5)
    assert sum(found.ends.values()) == 300
    assert found.slowest_s < SLOW_S
