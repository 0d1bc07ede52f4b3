"""Which model answers: by roles, by acquisition, by the manifest's order, by the split; and in which words."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.models.protocols import Acquisition, Installed, ModelMode
from pipeline.models.selection import Arrived, Choice, NoneFits, ab_point, acquisition_of, choose
from pipeline.report import ModelIdentity
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole

T1, T1CE, T2, FLAIR = SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2, SeriesRole.FLAIR
THICK, THIN = (0.5, 0.5, 5.0), (1.0, 1.0, 1.0)


class Segments:
    spacing_mm = 1.0

    def __init__(self, name, task="segmentation"):
        self.identity = ModelIdentity(name=name, version="1", task=task, weights_sha256="0" * 64)

    def segment(self, image, grid, progress=None):
        raise AssertionError("a model is chosen without being asked")


class Reads:
    classes, input_size, threshold = ("notumor", "tumor"), 224, 0.5

    def __init__(self, name, *roles):
        self.identity = ModelIdentity(name=name, version="1", task="detection", weights_sha256="0" * 64)
        self.roles = roles

    def predict(self, slices):
        raise AssertionError("a model is chosen without being asked")


def segmenter(name, *needs, acquisition=(), mode=ModelMode.ACTIVE, share=0.0):
    return Installed(
        model=Segments(name), needs=needs or CHANNEL_ORDER, acquisition=acquisition, mode=mode, share=share
    )


def arrived(*roles, spacing=THIN, study_uid="1.2.3"):
    grid = Grid(shape=(4, 4, 4), affine=np.diag([*spacing, 1.0]))
    return Arrived(roles=frozenset(roles), reference=grid, study_uid=study_uid)


def chosen(choice):
    assert isinstance(choice, Choice)
    return choice.installed.model.identity.name


@pytest.mark.parametrize(
    ("spacing", "acquisition"),
    [
        ((1.0, 1.0, 1.0), "3d"),
        ((0.45, 0.45, 5.0), "2d"),
        ((5.0, 0.9, 0.9), "2d"),
        ((0.5, 0.5, 1.5), "3d"),
        ((0.9, 0.9, 2.5), "2d"),
        ((0.9, 0.9, 2.4), "3d"),
        ((3.0, 3.0, 3.0), "3d"),
        ((2.0, 1.0, 3.9), "3d"),
    ],
)
def test_thick_slices_are_2d_and_even_voxels_3d(spacing, acquisition):
    assert acquisition_of(Grid(shape=(4, 4, 4), affine=np.diag([*spacing, 1.0]))) == acquisition


ROSTER = (segmenter("all four"), segmenter("two", T1CE, FLAIR), segmenter("flair", FLAIR))


@pytest.mark.parametrize(
    ("roles", "name"),
    [
        (CHANNEL_ORDER, "all four"),
        ((T1CE, FLAIR, T2), "two"),
        ((T1CE, FLAIR), "two"),
        ((FLAIR, T1), "flair"),
        ((FLAIR,), "flair"),
    ],
)
def test_the_first_model_whose_series_came_answers(roles, name):
    assert chosen(choose(ROSTER, arrived(*roles))) == name


def test_the_reason_says_what_was_passed_over_and_what_is_done_without():
    reason = choose(ROSTER, arrived(T1, FLAIR)).reason
    assert reason == (
        "the first of 3 active models that fits; it does without T1CE, T2; passed over: all four wants T1CE and T2, "
        "which is not there; two wants T1CE, which is not there"
    )
    assert choose(ROSTER[:1], arrived(*CHANNEL_ORDER)).reason == "the only active model of this task"


def test_where_none_fits_the_preferred_model_says_what_is_missing():
    none = choose(ROSTER, arrived(T1))
    assert isinstance(none, NoneFits)
    assert (none.missing, none.wanted, none.active) == ((T1CE, T2, FLAIR), "all four contrasts", 3)
    alone = choose(ROSTER[1:2], arrived(T1))
    assert (alone.missing, alone.wanted) == ((T1CE, FLAIR), "T1CE and FLAIR")
    assert choose((), arrived(T1)) == NoneFits(active=0, reason="no active model")


def test_the_acquisition_decides_between_two_models_that_could_read_the_series():
    roster = (
        segmenter("thin", acquisition=(Acquisition.VOLUME,)),
        segmenter("thick", acquisition=(Acquisition.SLICES,)),
    )
    assert chosen(choose(roster, arrived(*CHANNEL_ORDER))) == "thin"
    choice = choose(roster, arrived(*CHANNEL_ORDER, spacing=THICK))
    assert chosen(choice) == "thick"
    assert "reference is 2d (5.0 mm apart, 0.5 mm in plane)" in choice.reason
    none = choose(roster[:1], arrived(*CHANNEL_ORDER, spacing=THICK))
    assert none.missing == ()
    assert none.reason == (
        "no active model fits this study: thin reads 3d series, and the reference is 2d (5.0 mm apart, 0.5 mm in plane)"
    )


def test_a_slice_model_needs_any_one_of_its_roles():
    roster = (Installed(model=Reads("first", T1CE)), Installed(model=Reads("second", T2, FLAIR)))
    assert chosen(choose(roster, arrived(FLAIR))) == "second"
    none = choose(roster, arrived(T1))
    assert none.missing == (T1CE,)


def test_shadow_models_never_answer():
    roster = (segmenter("shadow", mode=ModelMode.SHADOW), segmenter("active"))
    assert chosen(choose(roster, arrived(*CHANNEL_ORDER))) == "active"
    assert choose(roster[:1], arrived(*CHANNEL_ORDER)).active == 0


STUDIES = [f"1.2.840.{number}" for number in range(2000)]


def version_b(share, *needs, name="b"):
    return segmenter(name, *needs, mode=ModelMode.AB, share=share)


def test_the_split_is_the_same_at_every_run_and_near_its_share():
    roster = (segmenter("a"), version_b(0.2), version_b(0.3, name="c"))
    answers = [chosen(choose(roster, arrived(*CHANNEL_ORDER, study_uid=uid))) for uid in STUDIES]
    assert answers == [chosen(choose(roster, arrived(*CHANNEL_ORDER, study_uid=uid))) for uid in STUDIES]
    # Four standard deviations of a share of 2000 draws.
    for name, share in (("a", 0.5), ("b", 0.2), ("c", 0.3)):
        assert answers.count(name) / len(STUDIES) == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


def test_a_greater_share_keeps_the_studies_it_had():
    def of_b(share):
        roster = (segmenter("a"), version_b(share))
        return {u for u in STUDIES if chosen(choose(roster, arrived(*CHANNEL_ORDER, study_uid=u))) == "b"}

    assert of_b(0.0) == set()
    assert of_b(0.1) < of_b(0.4) < of_b(1.0) == set(STUDIES)


def test_the_split_is_pinned():
    """Another hash would give every study of a running comparison to another version."""
    assert ab_point("segmentation", "1.2.3") == pytest.approx(0.0479524, abs=1e-6)
    assert ab_point("detection", "1.2.3") != ab_point("segmentation", "1.2.3")


def test_a_version_that_cannot_read_the_study_leaves_it_to_the_active_one():
    roster = (segmenter("a", FLAIR), version_b(1.0, T1CE))
    assert chosen(choose(roster, arrived(FLAIR))) == "a"
    assert chosen(choose(roster, arrived(FLAIR, T1CE))) == "b"


def test_a_case_without_a_study_is_the_active_models():
    assert chosen(choose((segmenter("a"), version_b(1.0)), arrived(*CHANNEL_ORDER, study_uid=""))) == "a"
