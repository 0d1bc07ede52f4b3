"""Lesions found again: balls on two grids, one of them turned and shifted."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.followup import LesionChange
from pipeline.geometry import RigidTransform
from pipeline.grids import world_points
from pipeline.longitudinal.matching import match_lesions
from pipeline.longitudinal.tracking import first_tracks, hand_on
from pipeline.measurements import lesion_components
from pipeline.volume import Grid

A, B, C, D = (-25.0, 0.0, 0.0), (25.0, 5.0, -5.0), (0.0, -25.0, 10.0), (-2.0, 0.0, 0.0)
FIRST, SAME, NEW, MERGED, SPLIT = LesionChange
#: Takes points of the later visit to points of the earlier one.
MOTION = RigidTransform.from_parameters((4, -6, 8), (5, -7, 3))


def _grid(spacing):
    shape = tuple(int(110 / mm) for mm in spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return Grid(shape=shape, affine=affine)


def _numbers(grid, balls, motion=None):
    """balls: (centre, radius) in earlier coordinates; `motion` where the grid is the later visit's."""
    points = world_points(np.argwhere(np.ones(grid.shape, bool)), grid)
    points = points if motion is None else motion.apply(points)
    mask = np.zeros(len(points), bool)
    for centre, radius in balls:
        mask |= ((points - centre) ** 2).sum(1) <= radius**2
    return lesion_components(mask.reshape(grid.shape))[0]


def _tracks(before, after):
    earlier_grid, later_grid = _grid((1.0, 1.0, 1.5)), _grid((1.2, 0.9, 2.0))
    earlier, later = _numbers(earlier_grid, before), _numbers(later_grid, after, MOTION)
    links = match_lesions(earlier, earlier_grid, later, later_grid, MOTION)
    uids = {n: track.tracking_uid for n, track in first_tracks(links.earlier, lambda n: f"old{n}").by_number.items()}
    sizes = {n: float((earlier == n).sum()) for n in links.earlier}
    tracks = hand_on(links, uids, sizes, lambda n: f"new{n}")
    found = {n: (track.change, track.tracking_uid, track.from_uids) for n, track in tracks.by_number.items()}
    return found, tracks.vanished


#: Lesions are numbered by falling volume, so "swapped" keeps each UID though both numbers change.
CASES = {
    "same": ([(A, 12), (B, 8)], [(A, 12), (B, 8)], {1: (SAME, "old1", ()), 2: (SAME, "old2", ())}, ()),
    "swapped": ([(A, 12), (B, 8)], [(A, 7), (B, 13)], {1: (SAME, "old2", ()), 2: (SAME, "old1", ())}, ()),
    "new": ([(A, 12)], [(A, 12), (C, 6)], {1: (SAME, "old1", ()), 2: (NEW, "new2", ())}, ()),
    "vanished": ([(A, 12), (B, 8)], [(A, 12)], {1: (SAME, "old1", ())}, ("old2",)),
    "all gone": ([(A, 12), (B, 8)], [], {}, ("old1", "old2")),
    "none before": ([], [(B, 8)], {1: (NEW, "new1", ())}, ()),
    "merged": (
        [(A, 12), (D, 8)],
        [(A, 14), (D, 12)],
        {1: (MERGED, "old1", ("old1", "old2"))},
        (),
    ),
    "split": (
        [(A, 14), (D, 12)],
        [(A, 11), (D, 8)],
        {1: (SPLIT, "old1", ("old1",)), 2: (SPLIT, "new2", ("old1",))},
        (),
    ),
    "small and displaced": ([(A, 3)], [((-25.0, 7.5, 0.0), 3)], {1: (SAME, "old1", ())}, ()),
    "small and elsewhere": ([(A, 3)], [((-25.0, 14.0, 0.0), 3)], {1: (NEW, "new1", ())}, ("old1",)),
}


@pytest.mark.parametrize("name", CASES)
def test_each_lesion_is_found_again(name):
    before, after, expected, vanished = CASES[name]
    found, gone = _tracks(before, after)
    assert found == expected
    assert gone == vanished
