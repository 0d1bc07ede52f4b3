"""The three ways in which a segmenter can be given its image."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.models.protocols import intensities_of, no_progress
from pipeline.preparation import PreparedStudy, prepare
from pipeline.volume import CHANNEL_ORDER, SeriesRole
from tests.synthetic_head import grid_around, head

T1CE = CHANNEL_ORDER.index(SeriesRole.T1CE)


@pytest.fixture(scope="module")
def study() -> PreparedStudy:
    return prepare({SeriesRole.T1CE: head(SeriesRole.T1CE, grid_around((48, 58, 54), (4.0, 4.0, 4.0)))}, no_progress)


def test_the_brain_is_z_scored_unless_asked_otherwise(study: PreparedStudy) -> None:
    image, grid = study.channels(4.0)
    inside = image[T1CE][image[T1CE] != 0]
    assert image.shape == (4, *grid.shape)
    assert abs(inside.mean()) < 1e-3
    assert inside.std() == pytest.approx(1, abs=1e-3)
    assert not np.delete(image, T1CE, axis=0).any()


def test_as_scanned_inside_the_brain(study: PreparedStudy) -> None:
    scored, grid = study.channels(4.0)
    raw, same = study.channels(4.0, "brain")
    assert grid.same_as(same)
    inside = scored[T1CE] != 0
    assert not raw[T1CE][~inside].any()
    values = raw[T1CE][inside]
    np.testing.assert_allclose(scored[T1CE][inside], (values - values.mean()) / values.std(), atol=1e-3)


def test_as_scanned_with_the_head_around(study: PreparedStudy) -> None:
    raw, grid = study.channels(4.0, "brain")
    whole, larger = study.channels(4.0, "head")
    assert all(big > small for big, small in zip(larger.shape, grid.shape, strict=True))
    assert np.count_nonzero(whole[T1CE]) > 1.3 * np.count_nonzero(raw[T1CE])


def test_a_segmenter_that_says_nothing_gets_the_usual() -> None:
    class Silent:
        pass

    assert intensities_of(Silent()) == "brain-zscore"  # type: ignore[arg-type]
