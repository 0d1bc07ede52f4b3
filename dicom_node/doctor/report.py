"""The findings as one readable report and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from dicom_node.doctor.findings import Finding, Verdict

_SHOWN = {Verdict.OK: "ok     ", Verdict.WARNING: "warning", Verdict.WRONG: "WRONG  ", Verdict.SKIPPED: "skipped"}


def line(finding: Finding) -> str:
    """One finding on one line, its fault by name."""
    named = f" [{finding.fault}]" if finding.fault is not None else ""
    return f"{_SHOWN[finding.verdict]}  {finding.what}:{named} {finding.detail}"


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    wrong = [finding for finding in findings if finding.verdict is Verdict.WRONG]
    warned = sum(finding.verdict is Verdict.WARNING for finding in findings)
    more = f", {warned} to look at" if warned else ""
    if not wrong:
        return f"all is well{more}"
    return f"{len(wrong)} things are wrong{more}: {', '.join(dict.fromkeys(str(one.fault) for one in wrong))}"


def is_well(findings: Sequence[Finding]) -> bool:
    """True where nothing has to be mended."""
    return all(finding.verdict is not Verdict.WRONG for finding in findings)


def as_json(findings: Sequence[Finding], at: datetime) -> dict[str, Any]:
    """The report for scripts."""
    return {
        "version": version("brain-tumor-node"),
        "at": at.isoformat(),
        "well": is_well(findings),
        "faults": list(dict.fromkeys(str(one.fault) for one in findings if one.verdict is Verdict.WRONG)),
        "findings": [
            {
                "what": finding.what,
                "verdict": str(finding.verdict),
                "fault": None if finding.fault is None else str(finding.fault),
                "detail": finding.detail,
            }
            for finding in findings
        ],
    }
