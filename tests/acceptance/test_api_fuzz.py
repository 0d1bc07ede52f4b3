"""A small fixed round of the campaign `python -m tests.acceptance.api_fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.api_fuzz import campaign, lines


# What schemathesis' own dependencies warn of is not ours.
@pytest.mark.filterwarnings("ignore")
def test_no_operation_answers_what_it_does_not_say(tmp_path: Path) -> None:
    found = campaign(tmp_path, cases=0, seed=7)
    assert found.cases >= 150
    assert not found.faults, "\n".join(lines(found)) + "\n" + "\n\n".join(found.faults[:5])
