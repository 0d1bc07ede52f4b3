"""A child is told by the dates of the headers, a grown-up or an unknown age is not flagged."""

from __future__ import annotations

import pytest

from dicom_node.patient_age import age_flags


@pytest.mark.parametrize(
    ("born", "studied", "child"),
    [
        ("20100301", "20260301", True),
        ("20080301", "20260228", True),
        ("20080301", "20260301", False),
        ("19500101", "20260101", False),
        ("20260101", "20260101", True),
        ("", "20260101", False),
        ("20100301", "", False),
        ("20301301", "20260101", False),
        ("20270101", "20260101", False),
        ("2010", "20260101", False),
    ],
)
def test_only_a_known_child_is_flagged(born: str, studied: str, child: bool) -> None:
    flags = age_flags(born, studied)
    assert [flag.code for flag in flags] == (["patient-child"] if child else [])
    assert not any(born and born in flag.text for flag in flags)
