"""Volumes, lesions and diameters against shapes whose size is known by formula."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.diameters import axial_diameters
from pipeline.measurements import lesion_components, measure
from pipeline.report import Label, ModelIdentity, Segmentation
from pipeline.volume import Grid

IDENTITY = ModelIdentity(name="truth", version="1", task="segmentation", weights_sha256="0" * 64)


def _grid(shape=(80, 80, 60), spacing=(1.0, 1.0, 1.0), tilt_deg=0.0):
    turn = np.deg2rad(tilt_deg)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape=shape, affine=affine)


def _points(grid):
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return indices @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _ellipsoid(grid, centre, radii):
    return (((_points(grid) - centre) / radii) ** 2).sum(-1) <= 1


def _segmentation(grid, **parts):
    labels = np.zeros(grid.shape, np.uint8)
    for name, mask in parts.items():
        labels[mask] = Label[name]
    return Segmentation(labels=labels, grid=grid, model=IDENTITY)


def _values(measurements, lesion):
    return {(m.quantity, m.subject): m.value for m in measurements if m.lesion == lesion}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 1.5)])
def test_volumes_of_nested_balls_are_within_two_percent(spacing):
    grid = _grid((100, 100, 60), spacing)
    ball = {r: _ellipsoid(grid, (0, 0, 0), (r, r, r)) for r in (8, 14, 22)}
    measurements, _ = measure(_segmentation(grid, ED=ball[22], ET=ball[14], NCR=ball[8]))
    values = _values(measurements, None)
    formula = {r: 4 / 3 * np.pi * r**3 / 1000 for r in ball}
    expected = {
        "WT": formula[22],
        "TC": formula[14],
        "ET": formula[14] - formula[8],
        "NCR": formula[8],
        "ED": formula[22] - formula[14],
    }
    assert {s: values["volume", s] for s in expected} == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("spacing", "tilt_deg"),
    [((1.0, 1.0, 1.0), 0), ((0.7, 0.7, 1.0), 0), ((1.0, 1.0, 1.0), 45), ((0.9, 1.2, 2.0), 0)],
)
@pytest.mark.parametrize("radii", [(15, 9, 12), (7, 19, 10), (12, 12, 12)])
def test_diameters_of_an_ellipsoid_are_within_one_voxel(spacing, tilt_deg, radii):
    grid = _grid((90, 90, 80), spacing, tilt_deg)
    mask = _ellipsoid(grid, (0.3, -0.4, 0.2), radii).astype(np.uint8)
    longest, perpendicular = axial_diameters(mask, grid)
    long_expected, short_expected = sorted((2 * radii[0], 2 * radii[1]), reverse=True)
    assert longest.length_mm == pytest.approx(long_expected, abs=max(spacing[:2]))
    assert perpendicular.length_mm == pytest.approx(short_expected, abs=max(spacing[:2]))


def test_an_ellipse_turned_in_its_plane_keeps_its_diameters():
    grid = _grid((80, 80, 5))
    points = _points(grid)
    turn = np.deg2rad(33)
    u = points[..., 0] * np.cos(turn) + points[..., 1] * np.sin(turn)
    v = -points[..., 0] * np.sin(turn) + points[..., 1] * np.cos(turn)
    mask = ((u / 20) ** 2 + (v / 11) ** 2 <= 1).astype(np.uint8)
    longest, perpendicular = axial_diameters(mask, grid)
    assert longest.length_mm == pytest.approx(40, abs=1)
    assert perpendicular.length_mm == pytest.approx(22, abs=1)
    along = np.subtract(longest.end_mm, longest.start_mm)
    across = np.subtract(perpendicular.end_mm, perpendicular.start_mm)
    assert along @ across == pytest.approx(0, abs=1e-6)
    assert longest.start_mm[2] == longest.end_mm[2] == perpendicular.start_mm[2]


def test_lines_lie_in_the_patient_where_the_lesion_is():
    grid = _grid()
    mask = _ellipsoid(grid, (12, -7, 5), (10, 5, 5)).astype(np.uint8)
    longest, _ = axial_diameters(mask, grid)
    middle = (np.array(longest.start_mm) + longest.end_mm) / 2
    assert middle == pytest.approx((12, -7, 5), abs=1.0)
    assert sorted((longest.start_mm[0], longest.end_mm[0])) == pytest.approx([2, 22], abs=1)


def test_a_sagittal_grid_is_measured_on_its_axial_planes():
    grid = _grid((40, 80, 80))
    turned = Grid(shape=(80, 80, 40), affine=grid.affine[:, [1, 2, 0, 3]])
    mask = _ellipsoid(turned, (0, 0, 0), (6, 14, 25)).astype(np.uint8)
    longest, perpendicular = axial_diameters(mask, turned)
    assert (longest.length_mm, perpendicular.length_mm) == pytest.approx((28, 12), abs=1)


def test_one_voxel_has_the_size_of_one_voxel():
    grid = _grid((5, 5, 5))
    mask = np.zeros(grid.shape, np.uint8)
    mask[2, 2, 2] = 1
    longest, perpendicular = axial_diameters(mask, grid)
    assert longest.length_mm == pytest.approx(1.0)
    assert perpendicular.length_mm <= 1.5
    assert axial_diameters(np.zeros(grid.shape, np.uint8), grid) is None


def test_the_perpendicular_of_a_ring_does_not_cross_its_hole():
    grid = _grid((60, 60, 3))
    ring = _ellipsoid(grid, (0, 0, 0), (20, 20, 500)) & ~_ellipsoid(grid, (0, 0, 0), (15, 15, 500))
    _, perpendicular = axial_diameters(ring.astype(np.uint8), grid)
    assert perpendicular.length_mm < 28


def test_lesions_are_numbered_by_falling_volume_and_sum_to_the_total():
    grid = _grid()
    small, large = _ellipsoid(grid, (-20, 0, 0), (5, 5, 5)), _ellipsoid(grid, (15, 5, 0), (12, 9, 9))
    core = _ellipsoid(grid, (15, 5, 0), (6, 4, 4))
    measurements, lesions = measure(_segmentation(grid, ED=small | large, ET=core))
    assert [lesion.number for lesion in lesions] == [1, 2]
    assert lesions[0].centroid_mm == pytest.approx((15, 5, 0), abs=0.5)
    assert lesions[1].centroid_mm == pytest.approx((-20, 0, 0), abs=0.5)
    total, first, second = (_values(measurements, n) for n in (None, 1, 2))
    assert first["volume", "WT"] + second["volume", "WT"] == pytest.approx(total["volume", "WT"])
    # The first lesion has a core and is measured there; the second is oedema only.
    assert first["longest axial diameter", "TC"] == pytest.approx(12, abs=1)
    assert second["longest axial diameter", "WT"] == pytest.approx(10, abs=1)
    assert total["longest axial diameter", "TC"] == first["longest axial diameter", "TC"]
    assert {m.unit for m in measurements} == {"mL", "mm"}


def test_nothing_labelled_gives_nothing():
    grid = _grid((4, 4, 4))
    assert measure(_segmentation(grid)) == ((), ())


def test_components_touch_by_corners():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[3:5, 3:5, 3:5] = True
    numbers, count = lesion_components(mask)
    assert count == 2
    assert numbers[3, 3, 3] == 1
    assert numbers[0, 0, 0] == numbers[1, 1, 1] == 2
