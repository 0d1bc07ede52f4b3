"""One round of the kill campaign at each point; `make faults` runs twenty."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.kill_campaign import POINTS, Campaign, CountedOrthanc


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("campaign")
    with Campaign(folder, CountedOrthanc(debian_tool("Orthanc"), folder), seed=1) as running:
        yield running


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_node_loses_nothing_and_duplicates_nothing(campaign: Campaign, point: str) -> None:
    outcome = campaign.run(point, 0)
    assert outcome.killed
    assert outcome.lost == 0
    assert outcome.status == "delivered"
    assert (outcome.segs, outcome.srs) == (1, 1)
