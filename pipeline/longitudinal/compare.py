"""One study compared with the patient's earlier visits: aligned, matched, tracked, tabled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RegistrationFailed
from pipeline.followup import Alignment, FollowUp, Visit
from pipeline.geometry import RigidTransform
from pipeline.longitudinal.matching import match_lesions
from pipeline.longitudinal.tracking import Tracks, first_tracks, hand_on
from pipeline.longitudinal.visits import change_table, joined_to_last, responses, visit_of
from pipeline.measurements import lesion_components
from pipeline.registration import register_rigid
from pipeline.report import Report, Segmentation, SkipCode, Skipped
from pipeline.volume import Grid, Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Imaged:
    """What of a study is needed to lay it on another: its reference series and, on the same grid, its labels."""

    reference: Volume
    labels: NDArray[np.uint8]

    @property
    def lesions(self) -> NDArray[np.int32]:
        """Lesion numbers (I, J, K), as the report counts them."""
        return lesion_components(self.labels > 0)[0]

    @property
    def grid(self) -> Grid:
        """That of both."""
        return self.reference.grid


def followed(
    report: Report,
    reference: Volume,
    earlier: Sequence[Visit],
    before: Imaged | None,
    *,
    new_uid: Callable[[int], str],
    key: str,
    study_uid: str,
    day: date,
    note: str = "",
) -> Report:
    """The report with tracking UIDs and, in `follow_up`, its place among the visits of the patient.

    earlier: oldest first, all before `day`. before: the study of the last of them, None where there is none. new_uid:
    from a lesion's number to a UID of its own. Where the two studies cannot be aligned the lesions count as first seen
    and a note says so; so it is for earlier visits that were never aligned with the last of them, whose lesions carry
    other UIDs. A report without segmentation or measurements comes back with a note alone.
    """
    lacking = unmeasured(report)
    if lacking is not None or not isinstance(report.segmentation, Segmentation):
        visits = (*earlier, visit_of(report, Tracks(by_number={}), key=key, study_uid=study_uid, day=day))
        return replace(report, follow_up=FollowUp(visits=visits, note=f"not compared: this study has {lacking}"))
    earlier, apart = joined_to_last(earlier)
    if apart:
        days = ", ".join(visit.day.isoformat() for visit in apart)
        left_out = f"left out, as no later study could be compared with it: {days}"
        note = f"{note}; {left_out}" if note else left_out
    numbers = tuple(lesion.number for lesion in report.lesions)
    alignment, tracks, after = None, first_tracks(numbers, new_uid), ""
    if earlier and before is not None:
        try:
            found = register_rigid(reference, before.reference)
        except RegistrationFailed as error:
            note = f"not compared: the study of {earlier[-1].day.isoformat()} cannot be laid on this one: {error}"
            earlier = ()
        else:
            here = Imaged(reference=reference, labels=report.segmentation.labels)
            links = match_lesions(before.lesions, before.grid, here.lesions, here.grid, found.transform)
            last = earlier[-1].lesions
            tracks = hand_on(
                links,
                {lesion.number: lesion.tracking_uid for lesion in last},
                {lesion.number: lesion.volume_ml for lesion in last},
                new_uid,
            )
            centre = (np.array(here.grid.shape) - 1) / 2 @ here.grid.affine[:3, :3].T + here.grid.affine[:3, 3]
            after = earlier[-1].study_uid
            alignment = Alignment(
                rotation_deg=found.transform.rotation_deg,
                translation_mm=found.transform.displacement_mm(centre),
                overlap=found.overlap,
                to_previous=_rows(found.transform),
            )
    visits = (*earlier, visit_of(report, tracks, key=key, study_uid=study_uid, day=day, after=after))
    lesions = tuple(
        replace(lesion, tracking_uid=tracks.by_number[lesion.number].tracking_uid) for lesion in report.lesions
    )
    if alignment is None:
        return replace(report, lesions=lesions, follow_up=FollowUp(visits=visits, note=note))
    diameters, volume = responses(visits)
    follow_up = FollowUp(
        visits=visits,
        alignment=alignment,
        changes=change_table(visits),
        diameters=diameters,
        volume=volume,
        note=note,
    )
    return replace(report, lesions=lesions, follow_up=follow_up)


def unmeasured(report: Report) -> str | None:
    """What a report lacks to be one of the visits that later ones are compared with, in words; None where nothing."""
    if isinstance(report.segmentation, Skipped):
        return f"no segmentation ({report.segmentation.reason})"
    numbers = report.measurements
    # What was looked at and held no tumour is measured: it is 0 mL.
    if isinstance(numbers, Skipped) and numbers.code is not SkipCode.NOTHING_SEGMENTED:
        return f"no measurements ({numbers.reason})"
    return None


def _rows(transform: RigidTransform) -> tuple[tuple[float, ...], ...]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = transform.rotation, transform.translation
    return tuple(tuple(row) for row in matrix.tolist())
