"""Tracking UIDs handed on from visit to visit along the links of `matching`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.followup import LesionChange
from pipeline.longitudinal.matching import LesionLinks


@dataclass(frozen=True, kw_only=True)
class Track:
    """The identity of one later lesion. from_uids: what merged into it, or what it split from; else empty."""

    tracking_uid: str
    change: LesionChange
    from_uids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """by_number: the later visit's lesions. vanished: UIDs of earlier lesions without any link."""

    by_number: Mapping[int, Track]
    vanished: tuple[str, ...] = ()


def first_tracks(numbers: tuple[int, ...], new_uid: Callable[[int], str]) -> Tracks:
    """The identities at a patient's first visit. new_uid: from a lesion's number to a UID that nothing else has."""
    return Tracks(by_number={n: Track(tracking_uid=new_uid(n), change=LesionChange.FIRST) for n in numbers})


def hand_on(
    links: LesionLinks, uids: Mapping[int, str], sizes: Mapping[int, float], new_uid: Callable[[int], str]
) -> Tracks:
    """uids, sizes: of the earlier lesions by number. new_uid: see `first_tracks`.

    A merged lesion keeps the UID of the largest that went into it; of the parts of a split one the part that shares
    most with it keeps its UID and the others get new ones. No UID is given twice.
    """
    parents = {b: [link for link in links.links if link[1] == b] for b in links.later}
    heir = {
        a: max((link for link in links.links if link[0] == a), key=lambda link: (link[2], -link[1]))[1]
        for a in {link[0] for link in links.links}
    }
    tracks: dict[int, Track] = {}
    for number in links.later:
        came = sorted((link[0] for link in parents[number]), key=lambda a: (-sizes[a], a))
        kept = [a for a in came if heir[a] == number]
        from_uids = tuple(uids[a] for a in came)
        alone = len(came) == 1 and sum(link[0] == came[0] for link in links.links) == 1
        if not came:
            tracks[number] = Track(tracking_uid=new_uid(number), change=LesionChange.NEW)
        elif alone:
            tracks[number] = Track(tracking_uid=uids[came[0]], change=LesionChange.SAME)
        else:
            tracks[number] = Track(
                tracking_uid=uids[kept[0]] if kept else new_uid(number),
                change=LesionChange.MERGED if len(came) > 1 else LesionChange.SPLIT,
                from_uids=from_uids,
            )
    vanished = tuple(uids[a] for a in links.earlier if a not in heir)
    return Tracks(by_number=tracks, vanished=vanished)
