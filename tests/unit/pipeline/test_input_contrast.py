"""The numbers that tell contrasts apart, and what the fitted table makes of real heads."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pipeline.contrast_table import TABLE
from pipeline.geometry import RigidTransform, resample
from pipeline.grids import analysis_grid
from pipeline.input_contrast import (
    contrast_findings,
    contrast_flags,
    contrast_numbers,
    ranks,
    series_features,
)
from pipeline.input_images import check_images
from pipeline.models.training.contrast_fit import exchanged
from pipeline.models.training.contrast_images import read_study
from pipeline.volume import CHANNEL_ORDER, SeriesRole
from tests.synthetic_head import brain_truth, grid_around, head

GRID = grid_around((50, 62, 60), (3.0, 3.0, 3.0))
BRAIN = brain_truth(GRID) > 0


def test_ranks_are_places_from_0_to_1():
    assert ranks(np.array([5.0, -1.0, 9.0])).tolist() == [0.5, 0.0, 1.0]


def test_the_numbers_do_not_depend_on_scale_and_offset():
    image = head(SeriesRole.T2, GRID).voxels
    numbers = series_features(image, BRAIN)
    assert numbers.shape == TABLE.centre.shape
    assert series_features(image * 7 + 300, BRAIN) == pytest.approx(numbers, abs=2e-3)


def test_a_flat_brain_gives_finite_numbers_and_no_error():
    flat = np.ones(GRID.shape, np.float32)
    assert np.isfinite(series_features(flat, BRAIN)).all()
    assert isinstance(contrast_flags({SeriesRole.T1: flat, SeriesRole.T2: flat}, BRAIN, TABLE), tuple)


def test_two_series_the_other_way_round_give_the_negative():
    images = {role: head(role, GRID).voxels for role in (SeriesRole.T1, SeriesRole.T2)}
    numbers = contrast_numbers(images, BRAIN)
    pair, back = numbers.pair(SeriesRole.T1, SeriesRole.T2), numbers.pair(SeriesRole.T2, SeriesRole.T1)
    assert pair == pytest.approx(-back)
    renamed = exchanged(numbers, SeriesRole.T1, SeriesRole.T2)
    assert renamed.pair(SeriesRole.T1, SeriesRole.T2) == pytest.approx(back)


def test_too_little_brain_is_not_judged():
    few = np.zeros_like(BRAIN)
    few[20:30, 20:30, 20:30] = True
    assert contrast_flags({SeriesRole.T1: head(SeriesRole.T2, GRID).voxels}, few, TABLE) == ()


@pytest.fixture(scope="module")
def real(shared_data):
    volumes = read_study("full", shared_data / "mri3d" / "full" / "BraTS2021_00495")
    grid = analysis_grid(volumes[SeriesRole.T1CE])
    brain = (resample(volumes[SeriesRole.T1CE], grid).voxels > 0).astype(np.uint8)
    return check_images(volumes, dict.fromkeys(volumes, RigidTransform.identity()), brain, grid)


def test_a_real_study_with_its_own_roles_raises_no_flag(real):
    assert contrast_flags(real.images, real.brain, TABLE) == ()


@pytest.mark.parametrize("pair", list(combinations(CHANNEL_ORDER, 2)), ids="-".join)
def test_exchanged_roles_of_a_real_study_are_found(real, pair):
    numbers = exchanged(contrast_numbers(real.images, real.brain), *pair)
    (finding,) = contrast_findings(numbers, TABLE)
    assert set(finding.roles) == set(pair)
    assert finding.probability > 0.8


def test_a_series_of_another_contrast_is_found_by_itself_and_named(real):
    (flag,) = contrast_flags({SeriesRole.T1: real.images[SeriesRole.T2]}, real.brain, TABLE)
    assert flag.code == "wrong-sequence"
    assert "like T2" in flag.text
