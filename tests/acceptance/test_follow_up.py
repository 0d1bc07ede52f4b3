"""A small round of the follow-up campaign: `python -m tests.acceptance.followup_campaign` runs all of it."""

from __future__ import annotations

import pytest

from tests.acceptance.followup_campaign import faults, follow, make_pair


@pytest.mark.parametrize(("kind", "seed"), [("merged", 104)])
def test_lesions_are_found_again_and_the_table_is_exact(kind: str, seed: int) -> None:
    pair = make_pair(kind, seed)
    assert faults(pair, *follow(pair, seed)) == []
