"""What a rule of the lint is, and the small readers that rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from dicom_node.results.evidence import ReferenceSeries


class Profile(StrEnum):
    """Whose demands are held to an object. DICOM is always among them."""

    DICOM = "dicom"
    OHIF = "ohif"
    WEASIS = "weasis"
    ORTHANC = "orthanc"
    STRICT_PACS = "strict-pacs"


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something a peer would refuse or misread. code is stable, text names the attribute, never what it holds."""

    code: str
    text: str
    profiles: frozenset[Profile] = frozenset({Profile.DICOM})


#: Yields one text for each place where the rule is broken.
Check = Callable[[Dataset, ReferenceSeries], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One demand. classes: the SOP classes it is made of; empty for all."""

    code: str
    check: Check
    profiles: frozenset[Profile]
    classes: frozenset[str] = frozenset()


def rule(code: str, check: Check, *profiles: Profile, classes: frozenset[str] = frozenset()) -> Rule:
    """A rule of these profiles; of DICOM where none is named."""
    return Rule(code=code, check=check, profiles=frozenset(profiles or {Profile.DICOM}), classes=classes)


def walk(item: Dataset) -> Iterator[Dataset]:
    """Every content item below `item`, depth first."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def code_of(sequence: object) -> tuple[str, str] | None:
    """(value, scheme) of a code sequence's item; None where there is none."""
    if not sequence or not hasattr(sequence, "__getitem__"):
        return None
    first = sequence[0]
    return str(first.get("CodeValue", "")), str(first.get("CodingSchemeDesignator", ""))


def named(items: list[Dataset], value: str) -> list[Dataset]:
    """The items whose concept name is this DCM code."""
    return [item for item in items if code_of(item.get("ConceptNameCodeSequence")) == (value, "DCM")]
