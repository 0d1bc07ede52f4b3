"""Headers and images together: confirms, corrects or flags the roles of a study's series before it is analysed.

Images are looked at only where some header leaves a role open. A header that is sure is never overruled, only doubted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.role_leanings import Leaning, leanings
from dicom_node.inbound.role_rules import fitness
from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.series_roles import Override, Seen
from pipeline.report import Flag
from pipeline.role_images import Looks, Weighed, look_at, weigh
from pipeline.volume import CHANNEL_ORDER, SeriesRole, Volume

#: Series looked at in one study: more would be too many combinations, and too long.
MOST = 8
#: By how much the images must outweigh a header that leans another way, to correct it; and to doubt one that is sure.
CORRECTED, DOUBTED = 4.0, 4.6
#: By how much the images may weaken a header that leans the same way without being said to speak against it.
SPEAKS_AGAINST = 1.0
#: A header that leads by less than this, confirmed or not, leaves a doubt that a person should hear of.
_FAINT = 1.5
#: What is left of the weight of words in a study where one is wrong.
_DISTRUST = 0.15
_BRAIN_FIRST = (SeriesRole.FLAIR, SeriesRole.T2, SeriesRole.T1, SeriesRole.T1CE)

Load = Callable[[str], Volume]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """seen: by SeriesInstanceUID, what `series_roles.assign` should take as seen. doubts: by SeriesInstanceUID, what a
    person should know of it."""

    seen: Mapping[str, Seen]
    doubts: Mapping[str, Flag] = field(default_factory=dict)


def role_evidence(series: Sequence[SeriesHeaders], overrides: Mapping[str, Override], load: Load) -> Evidence:
    """What the images add. load: a series' volume by its UID; may raise SeriesRefused, which leaves that series out."""
    leaning = {uid: one for uid, one in leanings(series).items() if uid not in overrides}
    if all(one.sure for one in leaning.values()):
        return Evidence(seen={})
    by_uid = {one.series_instance_uid: one for one in series}
    volumes: dict[str, Volume] = {}
    for uid in sorted(leaning, key=lambda one: (-fitness(by_uid[one]).points, one)):
        if len(volumes) == MOST:
            break
        try:
            volumes[uid] = load(uid)
        except SeriesRefused:
            continue  # told when it is its turn to be chosen
    leaning = {uid: leaning[uid] for uid in volumes}
    order = sorted(volumes, key=lambda uid: _BRAIN_FIRST.index(_first(leaning[uid])))
    looks = look_at(volumes, order)
    return joined({uid: by_uid[uid].description for uid in volumes}, leaning, looks)


def joined(names: Mapping[str, str], leaning: Mapping[str, Leaning], looks: Looks) -> Evidence:
    """Headers and images of a study's series. names: their descriptions; all by SeriesInstanceUID."""
    seen: dict[str, Seen] = {}
    doubts: dict[str, Flag] = {}
    for uid, (first, second) in looks.subtractions.items():
        if not leaning[uid].sure:
            reason = f"its image is that of '{names[first]}' less that of '{names[second]}'"
            seen[uid] = Seen(role=None, points=0, reason=reason)
    kept = {uid: one for uid, one in leaning.items() if uid not in seen}
    found = weigh({uid: one.weights for uid, one in kept.items()}, looks)
    if any(_corrects(one, found.roles[uid], found.margin[uid]) for uid, one in kept.items() if uid in looks.alone):
        # One wrong word: the words of this study are in the wrong places.
        kept = {uid: one if one.sure else _distrusted(one) for uid, one in kept.items()}
        found = weigh({uid: one.weights for uid, one in kept.items()}, looks)
    for uid, one in kept.items():
        if one.sure:
            doubt = _contradiction(uid, names[uid], found, kept, looks)
        elif uid in looks.alone:
            seen[uid], doubt = _decided(names[uid], one, found.roles[uid], found.margin[uid], looks.alone[uid])
        else:
            told = "its header does not tell its role, and its image could not be judged"
            doubt = _flag(names[uid], told) if one.lead < _FAINT else None
        if doubt:
            doubts[uid] = doubt
    return Evidence(seen=seen, doubts=doubts)


def _decided(
    name: str, header: Leaning, role: SeriesRole, margin: float, alone: Mapping[SeriesRole, float]
) -> tuple[Seen, Flag | None]:
    """The role of a series whose header leaves it open, and what is to be said of that."""
    leans = _first(header)
    likeness = f"looks like {role} ({_probability(margin):.2f})"
    points = 40 + round(10 * float(np.exp(alone[role])))
    if role is leans and header.lead >= _FAINT:
        if margin >= header.lead - SPEAKS_AGAINST:
            return Seen(
                role=role, points=points + 20, reason=f"its header leans to {role}, and its image {likeness}"
            ), None
        reason = f"its header leans to {role}; its image speaks against it"
        return Seen(role=role, points=points, reason=reason), _flag(name, reason)
    if header.lead < _FAINT:
        reason = f"its header does not tell its role; its image {likeness}"
        return Seen(role=role, points=points, reason=reason), _flag(name, reason)
    if _corrects(header, role, margin):
        reason = f"its header leans to {leans}, but its image {likeness}: taken for {role}"
        return Seen(role=role, points=points, reason=reason), _flag(name, reason)
    reason = f"its header leans to {leans}, which its image does not bear out"
    return Seen(role=leans, points=points, reason=reason), _flag(name, reason)


def _corrects(header: Leaning, role: SeriesRole, margin: float) -> bool:
    """Whether images overrule a header that leans to another role."""
    return not header.sure and header.lead >= _FAINT and role is not _first(header) and margin >= CORRECTED


def _distrusted(header: Leaning) -> Leaning:
    return Leaning(
        weights={role: weight * _DISTRUST for role, weight in header.weights.items()}, lead=header.lead * _DISTRUST
    )


def _contradiction(uid: str, name: str, found: Weighed, leaning: Mapping[str, Leaning], looks: Looks) -> Flag | None:
    """Where a header is sure and the image, beside the others as decided, is as sure of another role."""
    if uid not in looks.alone:
        return None
    role = found.roles[uid]
    others = {other: {found.roles[other]: 0.0} for other in leaning if other != uid}
    free = weigh({**others, uid: dict.fromkeys(CHANNEL_ORDER, 0.0)}, looks)
    if free.roles[uid] is role or free.margin[uid] < DOUBTED:
        return None
    reason = f"its header says {role}, but its image looks like {free.roles[uid]}"
    return _flag(name, reason, code="role-contradicted")


def _first(leaning: Leaning) -> SeriesRole:
    return max(leaning.weights, key=lambda role: leaning.weights[role])


def _probability(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-min(log_odds, 50.0))))


def _flag(name: str, reason: str, code: str = "role-uncertain") -> Flag:
    text = f"The series '{name or 'without description'}': {reason}. Check its role before trusting any result."
    return Flag(code=code, text=text)
