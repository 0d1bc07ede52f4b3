"""A batch of the kill campaign; `python -m tests.acceptance.kill_thousand` runs as many as wanted."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.kill_batches import BatchCampaign


def test_a_killed_node_loses_nothing_and_duplicates_nothing(tmp_path: Path) -> None:
    with BatchCampaign(tmp_path, seed=1, studies=2) as campaign:
        batch = campaign.batch(0, most=8)
    assert batch.total >= 5, batch.kills
    assert batch.acknowledged == 20
    assert batch.good, batch.told()
