"""Phantom pairs whose truth is known: every lesion found again, the table of change exact.

python -m tests.acceptance.followup_campaign --pairs 40

Each pair is one patient at two dates, T1CE alone, the second head turned and shifted in the scanner; the true labels
stand for the segmenter. Registration, matching, tracking and the table are the real thing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from dicom_node.phantom.anatomy import make_head, site_in_brain
from dicom_node.phantom.lesions import Lesion
from dicom_node.phantom.study import PhantomStudy, make_study
from pipeline.bidimensional import bidimensional
from pipeline.followup import FollowUp, LesionChange
from pipeline.geometry import RigidTransform
from pipeline.longitudinal.compare import Imaged, followed
from pipeline.measurements import lesion_components, measure
from pipeline.report import ModelIdentity, Report, Segmentation, SkipCode, Skipped, Stage
from pipeline.volume import Grid, SeriesRole, Volume
from tests.acceptance.campaign_record import CampaignRecord

KINDS = ("grown", "shrunk", "new", "vanished", "merged", "swapped")
DAY = date(2025, 1, 1)
_TRUTH = ModelIdentity(name="truth", version="1", task="segmentation", weights_sha256="0" * 64)
_NONE = Skipped(stage=Stage.DETECT, code=SkipCode.MODEL_UNAVAILABLE, reason="the truth is known")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What two dates hold."""

    kind: str
    first: tuple[Lesion, ...]
    second: tuple[Lesion, ...]


def _ball(centre: tuple[float, float, float], radius: float, seed: int) -> Lesion:
    return Lesion(
        centre_mm=centre, core_radius_mm=radius, rim_mm=2 * radius, oedema_mm=0.0, irregularity=0.05, seed=seed
    )


def make_pair(kind: str, seed: int) -> Pair:
    """One of `KINDS`; the sites follow from the seed."""
    head = make_head(seed)
    sites: list[tuple[float, float, float]] = []
    for attempt in range(200):
        site = site_in_brain(head, seed * 1000 + attempt)
        if all(np.linalg.norm(np.subtract(site, other)) > 45 for other in sites):
            sites.append(site)
        if len(sites) == 3:
            break
    a, b, c = sites
    large, small = _ball(a, 11.0, seed), _ball(b, 7.0, seed + 1)
    # Towards the middle of the brain: away from it the second lesion may lie outside the brain and not be there at all.
    inwards = np.array(a) * (1 - 26.0 / float(np.linalg.norm(a)))
    near = _ball((float(inwards[0]), float(inwards[1]), float(inwards[2])), 7.0, seed + 2)
    second = {
        "grown": (replace(large, core_radius_mm=14.0), replace(small, core_radius_mm=9.0)),
        "shrunk": (replace(large, core_radius_mm=8.0), replace(small, core_radius_mm=5.0)),
        "new": (large, small, _ball(c, 6.0, seed + 3)),
        "vanished": (large,),
        "merged": (replace(large, core_radius_mm=16.0), replace(near, core_radius_mm=13.0)),
        "swapped": (replace(large, core_radius_mm=6.5), replace(small, core_radius_mm=12.0)),
    }[kind]
    first = (large, near) if kind == "merged" else (large, small)
    return Pair(kind=kind, first=first, second=second)


def _study(seed: int, lesions: tuple[Lesion, ...], visit: int) -> PhantomStudy:
    roles = (SeriesRole.T1CE,)
    return make_study(seed, "siemens", size="small", clutter=False, roles=roles, lesions=lesions, visit=visit)


def imaged(study: PhantomStudy, position: RigidTransform) -> Imaged:
    """The T1CE series with its true labels, the head in another place of the scanner."""
    series = study.of_role(SeriesRole.T1CE)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = position.rotation, position.translation
    volume = series.volume
    grid = Grid(shape=volume.grid.shape, affine=affine @ volume.grid.affine)
    return Imaged(reference=Volume(voxels=volume.voxels, grid=grid), labels=study.truth_of(series))


def report_of(one: Imaged) -> Report:
    """The measured report of a series with its true labels."""
    segmentation = Segmentation(labels=one.labels, grid=one.grid, model=_TRUTH)
    measurements, lesions = measure(segmentation)
    return Report(
        roles=(SeriesRole.T1CE,),
        reference_role=SeriesRole.T1CE,
        reference_grid=one.grid,
        detection=_NONE,
        tumour_type=replace(_NONE, stage=Stage.CLASSIFY),
        segmentation=segmentation,
        measurements=measurements,
        lesions=lesions,
        bidimensional=bidimensional(lesions, one.labels, one.lesions, one.grid, one.grid),
    )


def follow(pair: Pair, seed: int) -> tuple[FollowUp, Imaged, Imaged]:
    """The second date's follow-up, and both dates."""
    rng = np.random.default_rng(seed)
    moved = RigidTransform.from_parameters(rng.uniform(-6, 6, 3), rng.uniform(-8, 8, 3))
    dates = (
        imaged(_study(seed, pair.first, 0), RigidTransform.identity()),
        imaged(_study(seed, pair.second, 1), moved),
    )
    earlier: tuple = ()
    before = None
    for n, one in enumerate(dates):
        report = followed(
            report_of(one),
            one.reference,
            earlier,
            before,
            new_uid=lambda number, n=n: f"{n}.{number}",
            key=str(n),
            study_uid=f"study {n}",
            day=DAY + timedelta(days=60 * n),
        )
        assert report.follow_up is not None
        earlier, before = report.follow_up.visits, one
    return report.follow_up, *dates


def faults(pair: Pair, found: FollowUp, first: Imaged, second: Imaged) -> list[str]:
    """What is not as it must be. Lesions are numbered by falling volume, so the larger one is number 1."""
    now, said = found.current, []
    told = [(one.change, one.tracking_uid, one.from_uids) for one in now.lesions]
    same, new, merged = LesionChange.SAME, LesionChange.NEW, LesionChange.MERGED
    expected = {
        "grown": [(same, "0.1", ()), (same, "0.2", ())],
        "shrunk": [(same, "0.1", ()), (same, "0.2", ())],
        "new": [(same, "0.1", ()), (same, "0.2", ()), (new, "1.3", ())],
        "vanished": [(same, "0.1", ())],
        "merged": [(merged, "0.1", ("0.1", "0.2"))],
        "swapped": [(same, "0.2", ()), (same, "0.1", ())],
    }[pair.kind]
    if told != expected:
        said.append(f"lesions {told}, not {expected}")
    if now.vanished != (("0.2",) if pair.kind == "vanished" else ()):
        said.append(f"vanished {now.vanished}")
    for uid, came_from in {uid: came_from for _, uid, came_from in expected}.items():
        row = next(row for row in found.changes if row.tracking_uid == uid)
        # A merged lesion is held against all that went into it.
        parts = [volume for part in came_from or (uid,) if (volume := _volume_of(first, found, 0, part)) is not None]
        true = [sum(parts) if parts else None, _volume_of(second, found, 1, uid)]
        if [row.previous, row.current] != true or row.percent_since_previous != _percent(*true):
            said.append(f"{uid}: {row.previous} to {row.current}, truth {true}")
    listed = {row.tracking_uid for row in found.changes if row.tracking_uid}
    if listed != {uid for _, uid, _ in expected} | set(now.vanished):
        said.append(f"rows of {sorted(listed)}")
    whole = next(row for row in found.changes if (row.subject, row.tracking_uid) == ("WT", ""))
    true = [float((one.labels > 0).sum()) * one.grid.voxel_volume_ml for one in (first, second)]
    if not np.allclose([whole.previous, whole.current], true, rtol=1e-12):
        said.append(f"in all {whole.previous} to {whole.current}, truth {true}")
    return said


def _volume_of(one: Imaged, found: FollowUp, visit: int, uid: str) -> float | None:
    number = next((lesion.number for lesion in found.visits[visit].lesions if lesion.tracking_uid == uid), None)
    if number is None:
        return None
    return int((lesion_components(one.labels > 0)[0] == number).sum()) * one.grid.voxel_volume_ml


def _percent(before: float | None, now: float | None) -> float | None:
    return None if not before else 100 * ((now or 0.0) - before) / before


def run(pairs: int, first_seed: int = 100, record: CampaignRecord | None = None, until: float = float("inf")) -> int:
    """How many of `pairs` were not exact; each is printed. What the record has is not done again.

    until: no pair begins after this time of the monotonic clock.
    """
    record = record or CampaignRecord(None)
    for n in range(pairs):
        kind, seed = KINDS[n % len(KINDS)], first_seed + n
        if record.has(f"{kind} {seed}") or time.monotonic() > until:
            continue
        began = time.perf_counter()
        pair = make_pair(kind, seed)
        found, first, second = follow(pair, seed)
        said = faults(pair, found, first, second)
        categories = [response.category.value for response in (found.diameters, found.volume) if response]
        record.add(f"{kind} {seed}", faults=said, categories=categories)
        seconds = time.perf_counter() - began
        print(
            f"{n + 1:3} {kind:9} seed {seed}: {'; '.join(said) or 'exact'}  {categories}  {seconds:.1f} s", flush=True
        )
    wrong = sum(bool(line["faults"]) for line in record.lines)
    print(f"{len(record.lines) - wrong} of {len(record.lines)} pairs exact, {pairs} asked for")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--record", type=Path, help="go on where this file says the campaign was stopped")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no pair after so long")
    asked = parser.parse_args()
    sys.exit(1 if run(asked.pairs, record=CampaignRecord(asked.record), until=time.monotonic() + asked.seconds) else 0)
