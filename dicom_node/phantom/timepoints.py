"""Follow-up: the same patient later, with a lesion grown, shrunk, new or vanished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from dicom_node.phantom.anatomy import Head, site_in_brain
from dicom_node.phantom.fields import generator
from dicom_node.phantom.lesions import Lesion, draw_lesion
from dicom_node.phantom.study import ALL_ROLES, PhantomStudy, first_visit, make_study
from pipeline.volume import SeriesRole

Change = Literal["stable", "grown", "shrunk", "new", "vanished"]

#: Factor on the radius: about 2.2 and 0.4 on the volume, beyond any border between stable and changed disease.
_GROWTH = {"grown": 1.3, "shrunk": 0.74}


def changed(lesions: tuple[Lesion, ...], change: Change, head: Head, seed: int) -> tuple[Lesion, ...]:
    """The lesions after `change`: growth and shrinkage of all, a vanished first one, or a new one far from the others.

    Raises:
        ValueError: a lesion should grow, shrink or vanish where there is none.
    """
    if change == "stable":
        return lesions
    if change == "new":
        fresh = draw_lesion(seed, _free_site(lesions, head, seed))
        return (*lesions, replace(fresh, core_radius_mm=8.0, rim_mm=3.0, oedema_mm=5.0))
    if not lesions:
        raise ValueError(f"no lesion can be '{change}' in a head without a tumour")
    if change == "vanished":
        return lesions[1:]
    factor = _GROWTH[change]
    return tuple(
        replace(
            lesion,
            core_radius_mm=lesion.core_radius_mm * factor,
            rim_mm=lesion.rim_mm * factor,
            oedema_mm=lesion.oedema_mm * factor,
        )
        for lesion in lesions
    )


def _free_site(lesions: tuple[Lesion, ...], head: Head, seed: int) -> tuple[float, float, float]:
    rng = generator(seed, "new lesion")
    best, best_gap = (0.0, 0.0, 0.0), -1e9
    for attempt in rng.integers(2**31, size=40):
        site = site_in_brain(head, int(attempt))
        gap = min(
            (sum((a - b) ** 2 for a, b in zip(site, x.centre_mm, strict=True)) ** 0.5 - x.reach_mm for x in lesions),
            default=0.0,
        )
        if gap > best_gap:
            best, best_gap = site, gap
    return best


def follow_up(
    first: PhantomStudy,
    change: Change,
    *,
    days: int = 90,
    clutter: bool = True,
    roles: Iterable[SeriesRole] = ALL_ROLES,
    motion_mm: float = 3.0,
    motion_deg: float = 3.0,
) -> PhantomStudy:
    """The next visit of `first`'s patient, `days` later: another study and position, the same head and PatientID."""
    return make_study(
        first.seed,
        first.vendor.name,
        size=first.size,
        clutter=clutter,
        enhanced=first.enhanced,
        roles=roles,
        motion_mm=motion_mm,
        motion_deg=motion_deg,
        patient=first.patient,
        salt=first.salt,
        lesions=changed(first.head.lesions, change, first.head, first.seed + 1000 * (first.visit + 1)),
        visit=first.visit + 1,
        days_after_first=(first.study_date - first_visit(first.seed)).days + days,
    )
