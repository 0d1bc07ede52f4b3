"""A report as one visit of its patient, and visits as a table of change and two suggested categories. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pipeline.followup import ChangeRow, LesionChange, Response, Visit, VisitLesion
from pipeline.longitudinal.response import PRODUCTS, VOLUMES, Burden, suggest
from pipeline.longitudinal.tracking import Tracks
from pipeline.measurements import VOLUME
from pipeline.report import Report, Skipped

_SUBJECTS = ("WT", "TC", "ET", "NCR", "ED")


def visit_of(report: Report, tracks: Tracks, *, key: str, study_uid: str, day: date) -> Visit:
    """The report of one study as a visit; its lesions under their tracking UIDs."""
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
    totals = {subject: volumes.get((None, subject), 0.0) for subject in _SUBJECTS}
    return Visit(
        key=key, study_uid=study_uid, day=day, volumes_ml=totals, lesions=tuple(lesions), vanished=tracks.vanished
    )


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
    targets = {family[lesion.tracking_uid] for lesion in visits[0].lesions if lesion.target}
    return [
        sum(lesion.product_mm2 for lesion in visit.lesions if family[lesion.tracking_uid] in targets)
        for visit in visits
    ]


def responses(visits: Sequence[Visit]) -> tuple[Response, Response]:
    """By the sum of products and by the enhancing volume. The first visit is the baseline."""

    def burdens(values: Sequence[float]) -> list[Burden]:
        return [
            Burden(
                day=visit.day,
                value=value,
                enhancing_left=visit.enhancing_ml > 0,
                new_lesion=any(one.change is LesionChange.NEW and one.measurable for one in visit.lesions),
            )
            for visit, value in zip(visits, values, strict=True)
        ]

    return (
        suggest(burdens(product_sums(visits)), PRODUCTS),
        suggest(burdens([visit.enhancing_ml for visit in visits]), VOLUMES),
    )


def change_table(visits: Sequence[Visit]) -> tuple[ChangeRow, ...]:
    """Totals, then each lesion that the present or the previous visit has; the first visit is the baseline."""
    baseline, previous, current = visits[0], visits[-2], visits[-1]
    at = (baseline, previous, current)
    rows = [_row(VOLUME, subject, "mL", [visit.volumes_ml[subject] for visit in at]) for subject in _SUBJECTS]
    sums = product_sums(visits)
    rows.append(_row("sum of products", "targets", "mm2", [sums[0], sums[-2], sums[-1]]))
    uids = dict.fromkeys(lesion.tracking_uid for visit in (current, previous) for lesion in visit.lesions)
    rows += [_row(VOLUME, "WT", "mL", [_volume_of(visit, uid) for visit in at], uid) for uid in uids]
    return tuple(rows)


def _volume_of(visit: Visit, uid: str) -> float | None:
    return next((lesion.volume_ml for lesion in visit.lesions if lesion.tracking_uid == uid), None)


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
