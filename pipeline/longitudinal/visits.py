"""A report as one visit of its patient, and visits as a table of change and two suggested categories. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from pipeline.followup import ChangeRow, LesionChange, Response, Visit, VisitLesion
from pipeline.longitudinal.response import PRODUCTS, VOLUMES, Burden, suggest
from pipeline.longitudinal.tracking import Tracks
from pipeline.measurements import VOLUME
from pipeline.report import Report, SkipCode, Skipped

_SUBJECTS = ("WT", "TC", "ET", "NCR", "ED")


def visit_of(report: Report, tracks: Tracks, *, key: str, study_uid: str, day: date, after: str = "") -> Visit:
    """The report of one study as a visit; its lesions under their tracking UIDs. after: see `Visit`."""
    measurements = () if isinstance(report.measurements, Skipped) else report.measurements
    volumes = {(m.lesion, m.subject): m.value for m in measurements if m.quantity == VOLUME}
    enhancing = {one.lesion: one for one in report.bidimensional}
    lesions = []
    for lesion in report.lesions:
        track, rano = tracks.by_number[lesion.number], enhancing.get(lesion.number)
        lesions.append(
            VisitLesion(
                tracking_uid=track.tracking_uid,
                number=lesion.number,
                change=track.change,
                volume_ml=lesion.volume_ml,
                enhancing_ml=volumes.get((lesion.number, "ET"), 0.0),
                product_mm2=0.0 if rano is None else rano.product_mm2,
                measurable=rano is not None and rano.measurable,
                target=rano is not None and rano.target,
                from_uids=track.from_uids,
            )
        )
    totals = {subject: volumes[None, subject] for subject in _SUBJECTS if (None, subject) in volumes}
    if isinstance(report.measurements, Skipped) and report.measurements.code is SkipCode.NOTHING_SEGMENTED:
        totals = dict.fromkeys(_SUBJECTS, 0.0)  # looked at, and nothing there; what nobody measured has no number
    return Visit(
        key=key,
        study_uid=study_uid,
        day=day,
        volumes_ml=totals,
        lesions=tuple(lesions),
        vanished=tracks.vanished,
        after=after,
    )


def joined_to_last(visits: Sequence[Visit]) -> tuple[tuple[Visit, ...], tuple[Visit, ...]]:
    """Of visits, oldest first, those whose lesions share tracking UIDs with the last one's, and the others.

    A visit that could not be laid on an earlier one, or was analysed before it, begins a chain of its own: summed with
    the lesions of another chain, tumour that is still there would count as gone.
    """
    chain: dict[str, str] = {}
    for number, visit in enumerate(visits):
        before = _laid_on(visit, visits[:number])
        chain[visit.study_uid] = chain.get(before, visit.study_uid)
    last = chain[visits[-1].study_uid] if visits else ""
    return (
        tuple(visit for visit in visits if chain[visit.study_uid] == last),
        tuple(visit for visit in visits if chain[visit.study_uid] != last),
    )


def _laid_on(visit: Visit, earlier: Sequence[Visit]) -> str:
    """Study Instance UID of the one of `earlier` that `visit` was laid on, or goes back to; empty for none."""
    if visit.after == "" or not earlier:
        return ""
    if visit.after in {one.study_uid for one in earlier}:
        return visit.after
    if visit.after is not None:
        # That visit counts no more (rejected, erased, analysed anew and failed): UIDs were handed on through it.
        known = _uids(visit)
        return next((one.study_uid for one in reversed(earlier) if not known.isdisjoint(_uids(one))), "")
    # Older releases did not say: lesions counted as first seen, or none where there had been some and none vanished.
    apart = any(lesion.change is LesionChange.FIRST for lesion in visit.lesions) or (
        not visit.lesions and not visit.vanished and bool(earlier[-1].lesions)
    )
    return "" if apart else earlier[-1].study_uid


def _uids(visit: Visit) -> set[str]:
    """The tracking UIDs that a visit's lesions have or came from."""
    return {*visit.vanished, *(uid for one in visit.lesions for uid in (one.tracking_uid, *one.from_uids))}


def families(visits: Sequence[Visit]) -> Mapping[str, str]:
    """Tracking UID to the UID it descends from: parts of a split lesion, and what a merged one took in, are one family.

    The targets are followed as families, so that a split or a merger neither loses nor doubles what was measured.
    """
    of: dict[str, str] = {}

    def root(uid: str) -> str:
        while of.get(uid, uid) != uid:
            uid = of[uid]
        return uid

    for visit in visits:
        for lesion in visit.lesions:
            of.setdefault(lesion.tracking_uid, lesion.tracking_uid)
            for parent in lesion.from_uids:
                of.setdefault(parent, parent)
                of[root(parent)] = root(lesion.tracking_uid)
    return {uid: root(uid) for uid in of}


def product_sums(visits: Sequence[Visit]) -> list[float]:
    """For each visit the sum of products, mm2, of what the first visit's targets have become."""
    family = families(visits)
    targets = _target_families(visits, family)
    return [
        sum(lesion.product_mm2 for lesion in visit.lesions if family[lesion.tracking_uid] in targets)
        for visit in visits
    ]


def _target_families(visits: Sequence[Visit], family: Mapping[str, str]) -> set[str]:
    return {family[lesion.tracking_uid] for lesion in visits[0].lesions if lesion.target}


def _newly_enhancing(visits: Sequence[Visit], number: int, family: Mapping[str, str]) -> bool:
    """Whether the visit `number` has a measurable enhancing lesion where the visit before had no enhancement."""
    if number == 0:
        return False
    before = {family[one.tracking_uid] for one in visits[number - 1].lesions if one.enhancing_ml > 0}
    return any(one.measurable and family[one.tracking_uid] not in before for one in visits[number].lesions)


def responses(visits: Sequence[Visit]) -> tuple[Response, Response]:
    """By the sum of products and by the enhancing volume. The first visit is the baseline."""
    family = families(visits)
    targets = _target_families(visits, family)

    def burdens(values: Sequence[float]) -> list[Burden]:
        return [
            Burden(
                day=visit.day,
                value=value,
                enhancing_left=visit.enhancing_ml > 0,
                new_lesion=_newly_enhancing(visits, number, family),
                outside_targets=any(
                    one.measurable and family[one.tracking_uid] not in targets for one in visit.lesions
                ),
            )
            for number, (visit, value) in enumerate(zip(visits, values, strict=True))
        ]

    return (
        suggest(burdens(product_sums(visits)), PRODUCTS),
        suggest(burdens([visit.enhancing_ml for visit in visits]), VOLUMES),
    )


def change_table(visits: Sequence[Visit]) -> tuple[ChangeRow, ...]:
    """Totals, then each lesion that the present or the previous visit has; the first visit is the baseline."""
    baseline, previous, current = visits[0], visits[-2], visits[-1]
    at = (baseline, previous, current)
    rows = [_row(VOLUME, subject, "mL", [visit.volumes_ml.get(subject) for visit in at]) for subject in _SUBJECTS]
    sums = product_sums(visits)
    rows.append(_row("sum of products", "targets", "mm2", [sums[0], sums[-2], sums[-1]]))
    # What went into a merged lesion is not gone: it stands in that lesion's row, with its volume at the earlier visits.
    merged = {one.tracking_uid: set(one.from_uids) for one in current.lesions if one.change is LesionChange.MERGED}
    taken_in = {uid for uids in merged.values() for uid in uids} - {one.tracking_uid for one in current.lesions}
    uids = dict.fromkeys(lesion.tracking_uid for visit in (current, previous) for lesion in visit.lesions)
    for uid in uids:
        if uid not in taken_in:
            parts = {uid, *merged.get(uid, ())}
            rows.append(_row(VOLUME, "WT", "mL", [_volume_of(visit, parts) for visit in at], uid))
    return tuple(rows)


def _volume_of(visit: Visit, uids: Collection[str]) -> float | None:
    volumes = [lesion.volume_ml for lesion in visit.lesions if lesion.tracking_uid in uids]
    return sum(volumes) if volumes else None


def _row(quantity: str, subject: str, unit: str, values: Sequence[float | None], uid: str = "") -> ChangeRow:
    """values: at the baseline, at the visit before, now."""
    baseline, previous, current = values
    return ChangeRow(
        quantity=quantity,
        subject=subject,
        unit=unit,
        baseline=baseline,
        previous=previous,
        current=current,
        percent_since_baseline=_percent(baseline, current),
        percent_since_previous=_percent(previous, current),
        tracking_uid=uid,
    )


def _percent(earlier: float | None, now: float | None) -> float | None:
    """Change in percent; a lesion that is gone has fallen by 100."""
    return None if not earlier else 100 * ((now or 0.0) - earlier) / earlier
