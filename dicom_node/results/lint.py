"""What PACSs and viewers demand of a result, checked on the finished object before it may leave.

The object is read as a stranger would, from its attributes alone; nothing here knows how it was built. A new SOP class
adds its own rules to a `lint_*` module and to `RULES`.
"""

from __future__ import annotations

from collections.abc import Collection

from pydicom import Dataset

from dicom_node.results import lint_common, lint_documents, lint_segmentation
from dicom_node.results.evidence import Evidence
from dicom_node.results.lint_rule import Defect, Profile, Rule

RULES: tuple[Rule, ...] = (*lint_common.RULES, *lint_segmentation.RULES, *lint_documents.RULES)


def lint(dataset: Dataset, evidence: Evidence, profiles: Collection[str] = tuple(Profile)) -> tuple[Defect, ...]:
    """Every defect of a result object by these profiles and DICOM's own; empty where it may leave."""
    asked = {Profile.DICOM, *(Profile(name) for name in profiles)}
    sop_class = str(dataset.get("SOPClassUID", ""))
    return tuple(
        Defect(code=rule.code, text=text, profiles=rule.profiles)
        for rule in RULES
        if rule.profiles & asked and (not rule.classes or sop_class in rule.classes)
        for text in rule.check(dataset, evidence.reference)
    )
