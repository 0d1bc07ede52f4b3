"""Coverage, size, motion and grey values: flagged where they are out of the ordinary, silent where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import input_check
from pipeline.geometry import RigidTransform
from pipeline.grids import crop_grid
from pipeline.input_check import check_inputs
from pipeline.input_coverage import coverage_flags, cut_shares, size_flags
from pipeline.input_grey import grey_flags
from pipeline.input_motion import motion_flags, motion_numbers
from pipeline.preparation import PreparedStudy
from pipeline.volume import Grid, SeriesRole, Volume
from tests.synthetic_head import brain_truth, grid_around, head

GRID = grid_around((90, 110, 100), (2.0, 2.0, 2.0))


def study(brain=None, grid=GRID, **volumes):
    """A study that lies still on one grid; T1 unless told otherwise."""
    given = {SeriesRole(role): volume for role, volume in volumes.items()} or {SeriesRole.T1: head(SeriesRole.T1, grid)}
    return PreparedStudy(
        reference_role=next(iter(given)),
        volumes=given,
        transforms=dict.fromkeys(given, RigidTransform.identity()),
        registrations=(),
        unregistered={},
        grid=grid,
        brain=brain_truth(grid) if brain is None else brain,
        flags=(),
    )


def codes(flags):
    return [flag.code for flag in flags]


def part(volume, low, high):
    """The slices from `low` to `high` of a volume."""
    box = (slice(0, volume.grid.shape[0]), slice(0, volume.grid.shape[1]), slice(low, high))
    return Volume(voxels=volume.voxels[box], grid=crop_grid(volume.grid, box))


def scaled(volume, factor):
    affine = np.diag([factor, factor, factor, 1.0]) @ volume.grid.affine
    return Volume(voxels=volume.voxels, grid=Grid(shape=volume.grid.shape, affine=affine))


def test_a_whole_head_is_covered():
    whole = study()
    assert max(cut_shares(whole).values()) < 0.01
    assert codes(coverage_flags(whole)) == []


# The brain reaches from slice 10 to slice 90.
@pytest.mark.parametrize(("end", "low", "high"), [("top", 0, 78), ("bottom", 22, 100)])
def test_a_slab_that_ends_in_the_brain_is_flagged_at_its_end(end, low, high):
    cut = part(head(SeriesRole.T1, GRID), low, high)
    slab = study(grid=cut.grid, T1=cut)
    shares = cut_shares(slab)
    assert shares[end] == pytest.approx(0.49, abs=0.08)
    assert max(share for other, share in shares.items() if other != end) < 0.01
    (flag,) = coverage_flags(slab)
    assert flag.code == "coverage-cut"
    assert f"at the {end} " in flag.text


def test_a_head_upside_down_in_its_file_ends_at_the_same_end():
    cut = part(head(SeriesRole.T1, GRID), 0, 78)
    affine = cut.grid.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 77], [0, 0, 0, 1.0]])
    turned = Volume(voxels=cut.voxels[:, :, ::-1].copy(), grid=Grid(shape=cut.grid.shape, affine=affine))
    assert cut_shares(study(grid=cut.grid, T1=turned)) == pytest.approx(cut_shares(study(grid=cut.grid, T1=cut)))


def test_a_second_series_with_half_the_brain_or_a_hole_in_it_is_flagged():
    whole = head(SeriesRole.T1, GRID)
    half = part(head(SeriesRole.FLAIR, GRID), 0, 50)
    (flag,) = coverage_flags(study(T1=whole, FLAIR=half))
    assert flag.code == "coverage-partial"
    assert "FLAIR series shows only 50%" in flag.text
    holed = head(SeriesRole.FLAIR, GRID)
    holed.voxels[:40] = 0
    assert codes(coverage_flags(study(T1=whole, FLAIR=holed))) == ["coverage-partial"]


def test_a_small_whole_brain_is_flagged_and_a_small_part_of_one_is_not():
    small = scaled(head(SeriesRole.T1, GRID), 0.78)
    child = study(grid=small.grid, brain=brain_truth(GRID), T1=small)
    (flag,) = size_flags(child)
    assert flag.code == "brain-small"
    assert "903 mL" in flag.text
    assert codes(size_flags(study())) == []
    cut = part(head(SeriesRole.T1, GRID), 0, 45)
    assert codes(size_flags(study(grid=cut.grid, T1=cut))) == []


def test_ghosts_beside_the_head_are_motion_and_noise_is_not():
    still = head(SeriesRole.T1, GRID)
    brain = brain_truth(GRID) > 0
    clean = motion_numbers(still, brain)
    assert abs(clean.ghosts) < 0.01
    ghost = np.roll(still.voxels, 40, axis=1) + np.roll(still.voxels, -40, axis=1)
    moved = Volume(voxels=still.voxels + 0.25 * ghost, grid=GRID)
    assert motion_numbers(moved, brain).ghosts == pytest.approx(0.084, abs=0.01)
    assert codes(motion_flags(study(T1=moved))) == ["motion"]
    assert codes(motion_flags(study())) == []


def test_motion_is_not_judged_without_air_or_brain():
    stripped = Volume(voxels=head(SeriesRole.T1, GRID).voxels * brain_truth(GRID), grid=GRID)
    assert codes(motion_flags(study(T1=stripped))) == []
    assert motion_numbers(stripped, np.zeros(GRID.shape, bool)) is None


def test_a_cut_off_bright_end_few_levels_and_blank_slices_are_flagged():
    volume = head(SeriesRole.T2, GRID)
    assert codes(grey_flags(study(T2=volume))) == []
    cut_off = Volume(voxels=np.minimum(volume.voxels, np.percentile(volume.voxels, 85)), grid=GRID)
    assert codes(grey_flags(study(T2=cut_off))) == ["intensity-saturated"]
    coarse = Volume(voxels=np.floor(volume.voxels / 60) * 60, grid=GRID)
    assert "intensity-coarse" in codes(grey_flags(study(T2=coarse)))
    blank = volume.voxels.copy()
    blank[:, :, 50:53] = 0
    (flag,) = grey_flags(study(T2=Volume(voxels=blank, grid=GRID)))
    assert (flag.code, flag.text[:1]) == ("slices-blank", "3")


def test_a_check_that_fails_is_flagged_and_costs_nothing_else(monkeypatch):
    def broken(study):
        raise ZeroDivisionError("no air")

    monkeypatch.setattr(input_check, "motion_flags", broken)
    flags = check_inputs(study(T1=part(head(SeriesRole.T1, GRID), 0, 78), grid=GRID))
    failed = [flag for flag in flags if flag.code == "input-check-failed"]
    assert [flag.text for flag in failed] == [
        "The input check of the motion could not be made: ZeroDivisionError: no air"
    ]


def test_an_empty_brain_raises_nothing():
    assert "input-check-failed" not in codes(check_inputs(study(brain=np.zeros(GRID.shape, np.uint8))))
