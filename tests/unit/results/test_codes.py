"""Our standard codes are the standard's: value, scheme and meaning, by pydicom's copy of its dictionaries."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from dicom_node.results import codes
from pipeline.report import SkipCode, Stage

#: In no dictionary of pydicom: DICOM's own use of UMLS, BCP 47 and UCUM, and NCI Thesaurus types without a CID.
ELSEWHERE = {"C0034375", "en-US", "1", "mL", "mm", "{pixels}", "C3059", "C3230", "C3329"}

ALL = {name: value for name, value in vars(codes).items() if isinstance(value, Code)}


def standard_meanings(code: Code) -> set[str]:
    scheme = concepts.get(code.scheme_designator, {})
    return {
        entry[code.value][0].lower().removesuffix(" (attribute)") for entry in scheme.values() if code.value in entry
    }


@pytest.mark.parametrize("code", ALL.values(), ids=ALL)
def test_standard_codes_are_in_the_dictionaries_with_our_meaning(code: Code) -> None:
    if code.scheme_designator == codes.PRIVATE_SCHEME or code.value in ELSEWHERE:
        return
    assert code.meaning.lower() in standard_meanings(code)


@pytest.mark.parametrize("kind", codes.SEGMENT_KINDS, ids=lambda kind: kind.subject)
def test_segment_types_are_of_the_context_group_for_brain_lesions(kind: codes.SegmentKind) -> None:
    entries = [
        e[kind.property_type.value]
        for e in concepts[kind.property_type.scheme_designator].values()
        if kind.property_type.value in e
    ]
    assert any(7168 in groups for _, groups in entries)


def test_every_code_fits_its_attribute() -> None:
    made = [
        *ALL.values(),
        *(codes.stage_code(stage) for stage in Stage),
        *(codes.skip_code(code) for code in SkipCode),
        codes.tumour_type_code("a class name that is far longer than sixteen characters"),
        codes.type_probability_code("a class name that is far longer than sixteen characters"),
        codes.quantity_code("surface"),
        codes.private_code("???", "nothing to spell"),
    ]
    for code in made:
        assert 1 <= len(code.value) <= 16
        assert len(code.scheme_designator) <= 16
        assert 1 <= len(code.meaning) <= 64


def test_every_reason_and_stage_has_its_own_code() -> None:
    assert len({codes.skip_code(code).value for code in SkipCode}) == len(SkipCode)
    assert len({codes.stage_code(stage).value for stage in Stage}) == len(Stage)


def test_tumour_types() -> None:
    assert codes.tumour_type_code("Glioma") == Code("C3059", "NCIt", "Glioma")
    assert codes.tumour_type_code("other tumour").scheme_designator == codes.PRIVATE_SCHEME
