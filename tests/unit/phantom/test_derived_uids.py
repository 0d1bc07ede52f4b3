from __future__ import annotations

import pytest
from pydicom.uid import UID

from dicom_node.uids import derive_uid


def test_a_derived_uid_is_valid_and_fixed_for_ever() -> None:
    uid = derive_uid("run", "7", "SEG")
    assert UID(uid).is_valid
    assert uid == "2.25.152876648701694073651202156401288946813"


def test_parts_are_told_apart() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("ab", "c", "")]
    assert len({derive_uid(*p) for p in parts}) == len(parts)


def test_no_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        derive_uid()
