"""Models averaged into one: numbers, identity, and what cannot be averaged."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.ensemble import SegmenterEnsemble, SliceEnsemble, averaged, check_member, ensemble_identity
from pipeline.models.protocols import Acquisition, Installed, Segmenter, SliceClassifier
from pipeline.report import ModelIdentity
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole

GRID = Grid(shape=(2, 2, 2), affine=np.eye(4))


def identity(name, task):
    return ModelIdentity(name=name, version=f"1.{name}", task=task, weights_sha256=name * 64)


class Slices:
    def __init__(self, name, classes=("a", "b"), row=(1.0, 0.0), roles=CHANNEL_ORDER, input_size=224, threshold=0.5):
        self.identity = identity(name, "type")
        self.classes, self.row, self.roles, self.input_size, self.threshold = classes, row, roles, input_size, threshold

    def predict(self, slices):
        return np.tile(np.array(self.row, np.float32), (len(slices), 1))


class Regions:
    def __init__(self, name, value=0.0, spacing_mm=1.0):
        self.identity, self.value, self.spacing_mm = identity(name, "segmentation"), value, spacing_mm

    def segment(self, image, grid, progress=None):
        progress(1.0)
        return np.full((3, *grid.shape), self.value, np.float32)


def installed(*models, **conditions):
    return [Installed(model=model, **conditions) for model in models]


def test_slice_models_are_averaged_class_by_class():
    ensemble = averaged("both", installed(Slices("a"), Slices("b", ("b", "a"), (0.5, 0.5), threshold=0.7))).model
    assert isinstance(ensemble, SliceEnsemble)
    assert isinstance(ensemble, SliceClassifier)
    assert ensemble.predict(np.zeros((2, 224, 224), np.float32)).tolist() == [[0.75, 0.25]] * 2
    assert ensemble.threshold == pytest.approx(0.6)


def test_segmenters_are_averaged_and_tell_their_progress_as_one():
    ensemble = averaged("both", installed(Regions("a", 0.2), Regions("b", 0.6))).model
    assert isinstance(ensemble, SegmenterEnsemble)
    assert isinstance(ensemble, Segmenter)
    seen = []
    answer = ensemble.segment(np.zeros((4, 2, 2, 2), np.float32), GRID, seen.append)
    assert answer == pytest.approx(np.full((3, 2, 2, 2), 0.4))
    assert answer.dtype == np.float32
    assert seen == [0.5, 1.0]


def test_the_identity_lists_every_member_and_follows_their_weights():
    a, b, c = (identity(name, "type") for name in "abc")
    both = ensemble_identity("both", [a, b])
    assert (both.name, both.version, both.task) == ("both: a + b", "1.a + 1.b", "type")
    assert both.members == (a, b)
    assert both.parts == (a, b)
    assert a.parts == (a,)
    hashes = f"ensemble\n{'a' * 64}\n{'b' * 64}"
    assert both.weights_sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    assert ensemble_identity("both", [b, a]).weights_sha256 == both.weights_sha256
    assert ensemble_identity("both", [a, c]).weights_sha256 != both.weights_sha256


def test_an_ensemble_needs_and_reads_what_its_members_do():
    parts = [
        Installed(model=Regions("a"), needs=(SeriesRole.FLAIR,)),
        Installed(model=Regions("b"), needs=(SeriesRole.T1CE,), acquisition=(Acquisition.VOLUME,)),
    ]
    joined = averaged("both", parts)
    assert joined.needs == (SeriesRole.T1CE, SeriesRole.FLAIR)
    assert joined.acquisition == (Acquisition.VOLUME,)
    roles = averaged("x", installed(Slices("a"), Slices("b", roles=(SeriesRole.T2,)))).model.roles
    assert roles == (SeriesRole.T2,)


def test_a_single_member_stays_what_it_is():
    (alone,) = installed(Slices("a"))
    assert averaged("x", [alone]) is alone


@pytest.mark.parametrize(
    ("first", "other", "says"),
    [
        (Slices("a"), Slices("b", ("a", "c")), "classes"),
        (Slices("a"), Slices("b", input_size=128), "128 pixels"),
        (Slices("a", roles=(SeriesRole.T1,)), Slices("b", roles=(SeriesRole.T2,)), "T2"),
        (Regions("a"), Regions("b", spacing_mm=2.0), "voxels of 2.0 mm"),
    ],
)
def test_what_cannot_be_averaged_is_refused_by_name(first, other, says):
    with pytest.raises(ModelUnusable, match=rf"model 'b': it reads .*{says}"):
        check_member("x", *installed(first, other))


def test_members_of_different_acquisitions_are_no_ensemble():
    volume = Installed(model=Regions("a"), acquisition=(Acquisition.VOLUME,))
    thick = Installed(model=Regions("b"), acquisition=(Acquisition.SLICES,))
    with pytest.raises(ModelUnusable, match="2d series"):
        check_member("x", volume, thick)
