"""Extents, surfaces, the brain's frame, places and RANO's lesions, against shapes and heads whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dicom_node.phantom.anatomy import make_head
from dicom_node.phantom.tissues import Tissue
from pipeline.anatomy import BrainRegion, Side
from pipeline.bidimensional import bidimensional
from pipeline.brain_frame import brain_frame
from pipeline.extents import extent, surface
from pipeline.grids import box_grid, world_points
from pipeline.measurements import lesion_components, measure
from pipeline.midline_shift import midline_shift_mm
from pipeline.places import place_of, regions_of
from pipeline.report import Label, ModelIdentity, Segmentation
from pipeline.volume import Grid

IDENTITY = ModelIdentity(name="truth", version="1", task="segmentation", weights_sha256="0" * 64)
WIDE = box_grid(np.array([-90.0, -110.0, -75.0]), np.array([90.0, 100.0, 90.0]), 1.5)


def _grid(shape, spacing, tilt_deg=0.0):
    turn = np.deg2rad(tilt_deg)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape=shape, affine=affine)


def _points(grid):
    return world_points(np.argwhere(np.ones(grid.shape, bool)), grid).reshape(*grid.shape, 3)


def _ellipsoid(grid, centre, radii):
    return ((((_points(grid) - centre) / radii) ** 2).sum(-1) <= 1).astype(np.uint8)


def _ellipsoid_surface(radii):
    a, b, c = np.array(radii, float) ** 1.6075
    return 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)


@pytest.mark.parametrize("radii", [(15, 9, 12), (7, 19, 10), (12, 12, 12)])
@pytest.mark.parametrize(("spacing", "tilt_deg"), [((1.0, 1.0, 1.0), 0), ((0.8, 0.8, 1.5), 20), ((0.9, 1.2, 3.0), 45)])
def test_diameter_surface_volume_and_box_of_an_ellipsoid(spacing, tilt_deg, radii):
    grid = _grid(tuple(int(46 / mm) + 8 for mm in spacing), spacing, tilt_deg)
    mask = _ellipsoid(grid, (0, 0, 0), radii)
    found = extent(mask, mask, "WT", grid)
    voxel_mm = max(spacing)
    assert found.maximum_diameter_mm == pytest.approx(2 * max(radii), abs=voxel_mm)
    assert np.linalg.norm(np.subtract(found.to_mm, found.from_mm)) == pytest.approx(found.maximum_diameter_mm)
    assert 100 * found.surface_cm2 == pytest.approx(_ellipsoid_surface(radii), rel=0.05)
    assert mask.sum() * grid.voxel_volume_ml == pytest.approx(4 / 3 * np.pi * np.prod(radii) / 1000, rel=0.02)
    assert np.array(found.high_mm) == pytest.approx(radii, abs=voxel_mm)
    assert np.array(found.low_mm) == pytest.approx(np.negative(radii), abs=voxel_mm)


def test_extent_of_a_box_is_exact_and_of_one_voxel_is_that_voxel():
    grid = _grid((20, 20, 20), (1.0, 2.0, 0.5))
    mask = np.zeros(grid.shape, np.uint8)
    mask[3:9, 4:7, 5:15] = 1  # 6 x 6 x 5 mm
    found = extent(mask, mask, "WT", grid)
    assert np.subtract(found.high_mm, found.low_mm) == pytest.approx((6, 6, 5))
    # Between middles of faces of voxels, so a little short of the corner to corner 9.85 mm.
    assert found.maximum_diameter_mm == pytest.approx(np.sqrt(6**2 + 6**2 + 5**2), abs=2.0)
    one = np.zeros(grid.shape, np.uint8)
    one[3, 3, 3] = 1
    assert extent(one, one, "WT", grid).maximum_diameter_mm == pytest.approx(2.0)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_the_surface_is_closed_and_its_normals_point_outwards(flip):
    grid = _grid((30, 30, 30), (1.0, 1.0, 1.0))
    affine = grid.affine.copy()
    affine[0] *= flip
    grid = Grid(shape=grid.shape, affine=affine)
    vertices, triangles = surface(_ellipsoid(grid, (0, 0, 0), (9, 9, 9)), grid)
    a, b, c = (vertices[triangles[:, n]] for n in range(3))
    # The signed volume of an outward closed surface is its volume.
    assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.03)
    with pytest.raises(ValueError, match="no voxel"):
        surface(np.zeros(grid.shape, np.uint8), grid)


@pytest.mark.parametrize("seed", [1, 3])
def test_the_frame_of_a_tilted_head_is_its_own_midline(seed):
    head = make_head(seed, tilt_deg=8)
    frame = brain_frame(head.brain_mask_on(WIDE), WIDE)
    normal = head.canonical[0, :3] / np.linalg.norm(head.canonical[0, :3])
    assert np.rad2deg(np.arccos(min(frame.normal @ normal, 1.0))) < 1.5
    middle = np.linalg.inv(head.canonical)[None, :3, 3]
    assert abs(frame.right_of_midline_mm(middle)[0]) < 1.5
    assert frame.standard(middle)[0] == pytest.approx((0, -14, 8), abs=12)
    assert brain_frame(np.zeros(WIDE.shape, np.uint8), WIDE) is None


def test_the_middle_pushed_aside_is_measured():
    head = make_head(2, tilt_deg=5)
    frame = brain_frame(head.brain_mask_on(WIDE), WIDE)
    table = np.zeros(40, np.float32)
    for tissue, value in (("CSF", 0.2), ("GREY", 0.6), ("WHITE", 0.9), ("DEEP_GREY", 0.65), ("BLOOD", 1.0)):
        table[Tissue[tissue]] = value
    image = head.tissues_on(WIDE, brain_only=True).image(table)
    where = np.indices(WIDE.shape).astype(np.float32)
    points = np.moveaxis(_points(WIDE), -1, 0)
    bump = np.exp(-(((points[0] / 45) ** 2 + (points[1] / 60) ** 2 + ((points[2] - 10) / 45) ** 2) ** 2))
    nothing = np.zeros(WIDE.shape, np.uint8)
    for pushed_mm in (0.0, 6.0, -8.0):
        moved = where.copy()
        moved[0] -= pushed_mm * bump / 1.5
        warped = ndimage.map_coordinates(image, moved, order=1)
        assert midline_shift_mm(warped, nothing, WIDE, frame) == pytest.approx(pushed_mm, abs=1.0)
    noise = np.random.default_rng(0).normal(size=WIDE.shape).astype(np.float32)
    assert midline_shift_mm(noise, nothing, WIDE, frame) is None
    assert midline_shift_mm(image, nothing + 1, WIDE, frame) is None


_R = BrainRegion
#: Landmarks of anatomy in MNI152 mm, none of them a reference point of the rule.
_LANDMARKS = [
    (_R.FRONTAL, [(-50, 18, 18), (-38, -22, 58), (-30, 40, 20), (-5, -10, 60)]),
    (_R.OCCIPITAL, [(-10, -90, 0), (30, -85, 0)]),
    (_R.PARIETAL, [(-46, -62, 38), (-58, -36, 34), (-20, -65, 55), (5, -60, 40)]),
    (_R.TEMPORAL, [(-56, -20, 6), (-26, -20, -14), (-40, -52, -18), (-45, 10, -30)]),
    (_R.DEEP, [(-26, 4, 2), (-12, -18, 8), (-12, 12, 10), (-18, -4, 0)]),
    (_R.CEREBELLUM, [(-26, -58, -28), (0, -65, -20), (30, -70, -45)]),
    (_R.BRAINSTEM, [(0, -26, -34), (0, -25, -12)]),
    (_R.INSULA, [(-37, 5, -2), (38, -5, 8)]),
    (_R.CALLOSAL, [(0, 26, 5), (0, -38, 14), (0, 5, 24)]),
]


@pytest.mark.parametrize(("region", "points"), _LANDMARKS)
def test_known_landmarks_lie_in_their_region(region, points):
    assert set(regions_of(np.array(points, float))) == {region}


def test_side_distance_and_sureness():
    frame = brain_frame(make_head(1, tilt_deg=0).brain_mask_on(WIDE), WIDE)
    cube = np.argwhere(np.ones((9, 9, 9))) - 4.0

    def at(x):
        return place_of(cube + np.array([x, 45.0, 20.0]), frame)

    right, left, middle = at(30.0), at(-30.0), at(0.0)
    assert (right.side, left.side, middle.side) == (Side.RIGHT, Side.LEFT, Side.MIDLINE)
    assert right.region is left.region is BrainRegion.FRONTAL
    assert right.distance_to_midline_mm == pytest.approx(26, abs=1.5)
    assert left.distance_to_midline_mm == pytest.approx(26, abs=1.5)
    assert middle.distance_to_midline_mm == 0
    assert 0.9 < right.region_sureness <= 1
    assert right.text.startswith("right frontal lobe (sureness ")
    assert "crossing the midline" in middle.text


def _measured(spacing, **balls):
    """balls: name to (label, centre, radius)."""
    grid = _grid(tuple(int(100 / mm) for mm in spacing), spacing)
    labels = np.zeros(grid.shape, np.uint8)
    for label, centre, radius in balls.values():
        labels[_ellipsoid(grid, centre, (radius,) * 3) > 0] = label
    _, lesions = measure(Segmentation(labels=labels, grid=grid, model=IDENTITY))
    numbers, _ = lesion_components(labels > 0)
    return bidimensional(lesions, labels, numbers, grid, grid), grid


def test_two_largest_measurable_enhancing_lesions_are_targets():
    found, grid = _measured(
        (1.0, 1.0, 1.0),
        large=(Label.ET, (-30, -30, -20), 12),
        middle=(Label.ET, (30, -30, 10), 9),
        small=(Label.ET, (-30, 30, 0), 7),
        dot=(Label.ET, (30, 30, 0), 3),
        oedema=(Label.ED, (0, 0, 38), 10),
    )
    assert [(one.measurable, one.target) for one in found] == [
        (True, True),
        (True, True),
        (True, False),
        (False, False),
    ]
    assert found[0].product_mm2 == pytest.approx(24 * 24, rel=0.1)
    assert found[0].product_mm2 == found[0].longest_mm * found[0].perpendicular_mm
    # The widest slice of the ball whose middle lies 20 mm below the middle of the grid.
    assert found[0].z_mm == pytest.approx(-20, abs=2)
    assert found[0].slice_index == pytest.approx((grid.shape[2] - 1) / 2 - 20, abs=2)


def test_thick_slices_ask_for_twice_their_distance_and_one_slice_is_too_few():
    found, _ = _measured((1.0, 1.0, 6.0), ball=(Label.ET, (0, 0, 0), 5.6))
    assert (found[0].least_mm, found[0].measurable) == (12.0, False)
    found, _ = _measured((1.0, 1.0, 5.0), flat=(Label.ET, (0, 0, 2.5), 4.0))
    assert found[0].least_mm == 10.0
