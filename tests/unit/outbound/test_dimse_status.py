from __future__ import annotations

import pytest

from dicom_node.outbound.dimse_status import verdict_of_status
from dicom_node.outbound.sending import Verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0x0000, Verdict.SENT),
        (0xB000, Verdict.SENT),
        (0xB006, Verdict.SENT),
        (0xB007, Verdict.SENT),
        (0x0111, Verdict.SENT),
        (0x0110, Verdict.RETRY),
        (0x0213, Verdict.RETRY),
        (0xA700, Verdict.RETRY),
        (0xA7FF, Verdict.RETRY),
        (0xA900, Verdict.REFUSED),
        (0xC000, Verdict.REFUSED),
        (0xCFFF, Verdict.REFUSED),
        (0x0122, Verdict.REFUSED),
        (0x0124, Verdict.REFUSED),
        (0x0117, Verdict.REFUSED),
    ],
)
def test_statuses(status: int, verdict: Verdict) -> None:
    found, text = verdict_of_status(status)
    assert found is verdict
    assert status == 0 or f"0x{status:04X}" in text
