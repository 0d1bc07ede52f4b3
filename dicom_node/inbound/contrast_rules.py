"""Which T1-weighted series were acquired after a contrast agent: a decision over the whole study, with its reason.

An agent cannot be taken back, so one series that surely shows it decides for all that were acquired later. The tag is
weak: some scanners carry it over to the whole exam, and some never write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.inbound.role_rules import said_contrast, tagged_contrast
from dicom_node.inbound.series_headers import SeriesHeaders


@dataclass(frozen=True, kw_only=True)
class ContrastCall:
    """enhanced: acquired after the agent. points: how surely. rule: the word recorded for an unclear case."""

    enhanced: bool
    points: int
    reason: str
    rule: str = ""


def contrast_calls(t1_series: Sequence[SeriesHeaders], study: Sequence[SeriesHeaders]) -> dict[str, ContrastCall]:
    """A call for each T1-weighted series by its UID; `study` holds every MR image series, those included."""
    tag_tells = _tag_tells(study)
    given_at = min((s.acquired for s in study if s.acquired and _shows_agent(s, tag_tells)), default="")
    calls = {s.series_instance_uid: _call(s, tag_tells, given_at) for s in t1_series}
    if not tag_tells and not any(c.enhanced for c in calls.values()):
        calls.update(_later_of_pair(t1_series))
    return calls


def _tag_tells(study: Sequence[SeriesHeaders]) -> bool:
    """False where the earliest series carries the agent already: the scanner wrote it on the whole exam."""
    timed = sorted((s for s in study if s.acquired), key=lambda s: s.acquired)
    if len(timed) < 2 or not tagged_contrast(timed[0]):
        return True
    return said_contrast(timed[0]) is True


def _shows_agent(series: SeriesHeaders, tag_tells: bool) -> bool:
    said = said_contrast(series)
    return said is True or (said is None and tag_tells and tagged_contrast(series))


def _call(series: SeriesHeaders, tag_tells: bool, given_at: str) -> ContrastCall:
    said, tagged = said_contrast(series), tagged_contrast(series)
    if said is False:
        doubt = ", although its header names an agent" if tagged and tag_tells else ""
        rule = "DESCRIPTION_OVER_TAG" if doubt else ""
        return ContrastCall(
            enhanced=False, points=20, reason=f"its description says no contrast was given{doubt}", rule=rule
        )
    if said is True:
        also = " and its header names an agent" if tagged else ""
        return ContrastCall(
            enhanced=True, points=30 if tagged else 20, reason=f"its description says contrast was given{also}"
        )
    if tagged and tag_tells:
        return ContrastCall(enhanced=True, points=20, reason="its header names a contrast agent")
    if given_at and series.acquired > given_at:
        return ContrastCall(
            enhanced=True, points=10, reason="it was acquired after a series that shows contrast", rule="AFTER_CONTRAST"
        )
    return ContrastCall(enhanced=False, points=0, reason="nothing says that contrast was given before it")


def _later_of_pair(t1_series: Sequence[SeriesHeaders]) -> dict[str, ContrastCall]:
    """Agent named on the whole exam, no description tells: the earliest T1 is native, those after it are enhanced."""
    unsaid = sorted((s for s in t1_series if s.acquired and said_contrast(s) is None), key=lambda s: s.acquired)
    if len(unsaid) < 2 or unsaid[0].acquired == unsaid[-1].acquired:
        return {}
    reason = "the agent is named on every series of the exam, and it was acquired after the first T1"
    return {
        s.series_instance_uid: ContrastCall(enhanced=True, points=5, reason=reason, rule="LATER_OF_T1_PAIR")
        for s in unsaid
        if s.acquired > unsaid[0].acquired
    }
