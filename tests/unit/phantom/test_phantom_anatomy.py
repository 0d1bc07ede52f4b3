from __future__ import annotations

import numpy as np
import pytest

from dicom_node.phantom.anatomy import make_head
from dicom_node.phantom.fields import WaveNoise, coordinates_mm, ellipsoid, generator, moved, slabs, window
from dicom_node.phantom.lesions import ED, ET, NCR, Lesion
from dicom_node.phantom.motion import draw_motion, rigid
from dicom_node.phantom.tissues import Tissue
from pipeline.volume import Grid

LESION = Lesion(centre_mm=(-30.0, 10.0, 25.0), core_radius_mm=14.0, rim_mm=4.0, oedema_mm=8.0, seed=3)


def lattice(spacing: float, half: float = 90.0) -> Grid:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -half
    count = int(2 * half / spacing) + 1
    return Grid(shape=(count, count, count), affine=affine)


def test_wave_noise_is_the_same_function_on_every_grid() -> None:
    noise = WaveNoise.draw(generator(1, "test"), 20.0)
    whole = Grid(shape=(6, 5, 4), affine=rigid((10, 20, 30), (1, 2, 3)) @ np.diag([2.0, 3.0, 4.0, 1.0]))
    values = noise.on(whole)
    spots = np.stack([np.broadcast_to(c, whole.shape) for c in coordinates_mm(whole)], axis=-1).astype(np.float64)
    direct = np.cos(spots @ noise.waves.T + noise.phases).sum(-1) * np.sqrt(2 / len(noise.phases))
    assert values == pytest.approx(direct, abs=1e-4)
    pieces = np.concatenate([noise.on(part) for _, part in slabs(whole, voxels=40)])
    assert pieces == pytest.approx(values, abs=1e-5)


def test_ellipsoid_distance_is_exact_for_a_ball() -> None:
    at = coordinates_mm(Grid(shape=(3, 1, 1), affine=np.diag([10.0, 1, 1, 1])))
    assert ellipsoid(at, (0.0, 0.0, 0.0), (15.0, 15.0, 15.0))[1:, 0, 0] == pytest.approx([5.0, -5.0], abs=1e-4)


def test_window_holds_the_ball_and_misses_what_is_far() -> None:
    grid = lattice(2.0)
    found = window(grid, (10.0, 0.0, -4.0), 6.0)
    assert found is not None
    where, part = found
    assert where[0] == slice(47, 54)
    assert part.affine[:3, 3] == pytest.approx([4.0, -6.0, -10.0])
    assert window(grid, (500.0, 0.0, 0.0), 6.0) is None


def test_truth_has_three_nested_compartments_at_every_spacing() -> None:
    head = make_head(5, (LESION,))
    volumes = {}
    for spacing in (1.5, 3.0):
        grid = lattice(spacing)
        labels = head.truth_on(grid)
        assert set(np.unique(labels)) == {0, NCR, ED, ET}
        volumes[spacing] = [float((labels == v).sum() * grid.voxel_volume_ml) for v in (NCR, ED, ET)]
    assert volumes[1.5] == pytest.approx(volumes[3.0], rel=0.1)


def test_truth_follows_the_grid_not_its_axes() -> None:
    head = make_head(5, (LESION,))
    plain = lattice(2.0)
    turned = Grid(
        shape=plain.shape, affine=plain.affine @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    assert np.array_equal(head.truth_on(turned), head.truth_on(plain).transpose(1, 0, 2))


def test_drawn_tissue_agrees_with_the_truth_and_lesions_stay_in_the_brain() -> None:
    head = make_head(5, (LESION,))
    grid = lattice(2.0)
    drawn, labels = head.tissues_on(grid), head.truth_on(grid)
    mostly = np.where(drawn.share > 0.5, drawn.second, drawn.first)
    for label, tissue in ((NCR, Tissue.NECROSIS), (ED, Tissue.OEDEMA), (ET, Tissue.ENHANCING)):
        ours, theirs = labels == label, mostly == tissue
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.99
    assert (head.brain_mask_on(grid)[labels > 0] == 1).all()


def test_head_has_the_size_and_tissues_of_a_head() -> None:
    head = make_head(7)
    grid = lattice(2.0, half=110.0)
    drawn = head.tissues_on(grid)
    assert not head.truth_on(grid).any()
    brain_ml = head.brain_mask_on(grid).sum() * grid.voxel_volume_ml
    assert 1100 < brain_ml < 1800
    mostly = np.where(drawn.share > 0.5, drawn.second, drawn.first)
    amounts = {t: float((mostly == t).sum() * grid.voxel_volume_ml) for t in Tissue}
    assert 350 < amounts[Tissue.GREY] < 900
    assert 350 < amounts[Tissue.WHITE] < 900
    assert amounts[Tissue.CSF] > 100
    assert amounts[Tissue.BONE] + amounts[Tissue.MARROW] > 200
    outside = np.flatnonzero((mostly > 0).any((1, 2))) * 2 - 110
    assert 130 < outside.max() - outside.min() < 180


def test_seeds_make_other_heads_and_the_same_seed_the_same() -> None:
    grid = lattice(4.0)
    one, again, other = (make_head(seed).tissues_on(grid) for seed in (1, 1, 2))
    assert np.array_equal(one.first, again.first)
    assert np.array_equal(one.share, again.share)
    assert (one.second != other.second).mean() > 0.02


def test_motion_is_rigid_and_within_its_limits() -> None:
    for seed in range(30):
        matrix = draw_motion(seed, "T2", 10.0, 10.0)
        turn = matrix[:3, :3]
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert 10 / 3 - 1e-9 <= np.linalg.norm(matrix[:3, 3]) <= 10
        assert 10 / 3 - 1e-6 <= np.degrees(np.arccos((np.trace(turn) - 1) / 2)) <= 10 + 1e-6
    assert draw_motion(1, "T2", 0.0, 0.0) == pytest.approx(np.eye(4))


def test_moved_grid_sees_the_head_elsewhere() -> None:
    grid = Grid(shape=(1, 1, 1), affine=np.eye(4))
    assert moved(grid, rigid((0, 0, 90), (5, 0, 0))).affine[:3, 3] == pytest.approx([5, 0, 0])
