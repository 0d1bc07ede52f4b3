"""How sure the headers are of each series' role: log-weights to be joined with what the images say. Pure.

Timing is physics and is taken as sure where nothing contradicts it. Words are a person's: they can be in the wrong
place. Where one description of a study contradicts its timing, no description of that study counts for much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicom_node.inbound.contrast_rules import ContrastCall, contrast_calls
from dicom_node.inbound.exclusion_rules import exclusion_of
from dicom_node.inbound.role_rules import Weighting, said_contrast, said_weighting, timed_weighting, weighting_of
from dicom_node.inbound.series_headers import SeriesHeaders
from pipeline.volume import SeriesRole

#: A role that leads by this much is not asked about.
SURE = 6.0
_WORDS, _WORDS_OVER_TIMING, _TIMING_OVER_WORDS = 4.0, 3.0, 3.0
#: Log-odds of T1CE against T1 by the points of a `ContrastCall`; words alone, where words are not to be trusted.
_CONTRAST = {30: 8.0, 20: 4.0, 10: 2.0, 5: 1.4, 0: 2.0}
_DISTRUSTED = 0.5
#: Of a T1 that nothing is said of, beside one that surely shows contrast.
_BESIDE_ENHANCED = 4.0
_WITH_ROLE = (Weighting.T1, Weighting.T2, Weighting.FLAIR)


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """weights: log-weight of each role that a series may have. lead: by how much the first is ahead of the second."""

    weights: Mapping[SeriesRole, float]
    lead: float

    @property
    def sure(self) -> bool:
        """True where the images need not be asked."""
        return self.lead >= SURE


def leanings(series: Sequence[SeriesHeaders]) -> dict[str, Leaning]:
    """By SeriesInstanceUID, for every series that no rule excludes and that may have a role; also for those whose
    header says nothing at all."""
    open_series = [one for one in series if exclusion_of(one) is None]
    trusted = not any(map(_contradicts, open_series))
    weighted: dict[str, dict[Weighting, float]] = {}
    for one in open_series:
        if weights := _weightings(one, trusted):
            weighted[one.series_instance_uid] = weights
    t1 = [s for s in series if Weighting.T1 in weighted.get(s.series_instance_uid, {})]
    calls = contrast_calls(t1, [s for s in series if s.first.is_mr_image and not s.first.own_object])
    alike = _without_sign(t1, calls)
    found = {}
    for one in series:
        uid = one.series_instance_uid
        if uid in weighted:
            odds = _contrast(one, calls, trusted) if uid in calls and uid not in alike else 0.0
            found[uid] = _leaning(weighted[uid], odds)
    return found


def _weightings(series: SeriesHeaders, trusted: bool) -> dict[Weighting, float]:
    """Log-weights; empty where the header says that it is none of three."""
    said, timed = said_weighting(series), timed_weighting(series)[0]
    header = weighting_of(series)[0]
    if header is None:
        return dict.fromkeys(_WITH_ROLE, 0.0)
    if header not in _WITH_ROLE:
        return {}
    if timed is None:
        return {**dict.fromkeys(_WITH_ROLE, 0.0), header: _WORDS if trusted else _DISTRUSTED}
    if header is not timed:  # the words were believed for a reason
        weight = _WORDS_OVER_TIMING if trusted else -_DISTRUSTED
        return {header: weight, **({timed: 0.0} if timed in _WITH_ROLE else {})}
    if said in _WITH_ROLE and said is not timed and said is not Weighting.T2:
        return {header: _TIMING_OVER_WORDS, said: 0.0}
    return {header: 0.0}


def _contradicts(series: SeriesHeaders) -> bool:
    said, timed = said_weighting(series), timed_weighting(series)[0]
    loose = {(Weighting.T2, Weighting.FLAIR), (Weighting.FLAIR, Weighting.T2), (Weighting.T2, Weighting.PD)}
    return None not in (said, timed) and said is not timed and (said, timed) not in loose


def _contrast(series: SeriesHeaders, calls: Mapping[str, ContrastCall], trusted: bool) -> float:
    """Log-odds of T1CE against T1."""
    call = calls[series.series_instance_uid]
    odds = _CONTRAST[call.points]
    if said_contrast(series) is not None and not trusted:
        odds = _DISTRUSTED
    elif not call.points and any(other.enhanced and other.points >= 20 for other in calls.values()):
        odds = _BESIDE_ENHANCED if trusted else _DISTRUSTED
    return odds if call.enhanced else -odds


def _without_sign(t1: Sequence[SeriesHeaders], calls: Mapping[str, ContrastCall]) -> frozenset[str]:
    """Several T1 of which no word and no tag says which was acquired after the agent."""
    if len(t1) < 2 or any(call.points for call in calls.values()):
        return frozenset()
    return frozenset(calls)


def _leaning(weights: Mapping[Weighting, float], contrast: float) -> Leaning:
    roles = {}
    for weighting, weight in weights.items():
        if weighting is Weighting.T1:
            roles[SeriesRole.T1], roles[SeriesRole.T1CE] = weight - contrast / 2, weight + contrast / 2
        else:
            roles[SeriesRole.T2 if weighting is Weighting.T2 else SeriesRole.FLAIR] = weight
    ranked = sorted(roles.values(), reverse=True)
    return Leaning(weights=roles, lead=ranked[0] - ranked[1] if len(ranked) > 1 else float("inf"))
