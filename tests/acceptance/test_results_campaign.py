"""A small round of the campaign over result objects; the whole of it is a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.results_campaign import campaign


def test_strangers_find_no_fault_in_three_studies_and_a_real_series(
    shared_data: Path, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    debian_tool("dciodvfy")
    tally = campaign(3, shared_data, tmp_path)
    assert tally.faults == []
    assert set(tally.objects) == {"SEG", "SEG-REGIONS", "LABELMAP", "SR", "SR-VIEWER", "SC", "KO", "PDF"}
    assert min(tally.objects.values()) == 4
