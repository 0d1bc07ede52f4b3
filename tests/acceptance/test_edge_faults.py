"""One round of some faults at the DICOM edge that need no further start of the node; the campaign has them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.edge_faults import EdgeCampaign, EdgeRound
from tests.acceptance.wounding_relay import Wound

CHEAP = (Wound.HALF_A_PDU, Wound.LOST_LAST_FRAGMENT, "PACS denies commitment", "PACS echoes")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeCampaign]:
    with EdgeCampaign(tmp_path_factory.mktemp("edge"), seed=1) as running:
        yield running


@pytest.mark.parametrize("kind", CHEAP)
def test_nothing_is_lost_or_sent_twice_whatever_goes_wrong_at_the_edge(campaign: EdgeCampaign, kind: str) -> None:
    outcome: EdgeRound = campaign.edge_round(kind, 0)
    assert outcome.good, outcome
