"""`analyse` on a synthetic head: every subset of roles, every way a model can be absent or fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis import analyse
from pipeline.errors import NothingToAnalyse
from pipeline.geometry import RigidTransform
from pipeline.models.protocols import Acquisition, Installed, Models
from pipeline.registration import Registration
from pipeline.report import Finding, ModelIdentity, Region, Segmentation, SkipCode, Skipped, Stage
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, SeriesRole, Volume
from tests.synthetic_head import GRIDS, brain_truth, head, tumour_truth

ROLES = tuple(SeriesRole)
HEADS = {role: head(role) for role in ROLES}
#: One of each size; the acceptance test of the same goes through all of them, from files to files.
SUBSETS = [ROLES[:1], ROLES[2:], ROLES[:3], ROLES]


def _identity(task):
    return ModelIdentity(name=f"test {task}", version="1", task=task, weights_sha256="0" * 64)


class Slices:
    """A slice model that answers every slice with the same row."""

    input_size = 224
    threshold = 0.5

    def __init__(self, task, classes, row, roles=ROLES):
        self.identity, self.classes, self.row, self.roles = _identity(task), classes, row, roles

    def predict(self, slices):
        return np.tile(np.array(self.row, np.float32), (len(slices), 1))


class Truth:
    """A segmenter that knows the tumour."""

    identity = _identity("segmentation")
    spacing_mm = 2.0

    def segment(self, image, grid, progress=None):
        assert image.shape == (4, *grid.shape)
        return tumour_truth(grid)


class Empty(Truth):
    def segment(self, image, grid, progress=None):
        return np.zeros((3, *grid.shape), np.float32)


class Broken(Truth):
    def segment(self, image, grid, progress=None):
        raise MemoryError("out of device memory")


def _models(tumour=0.9, segmenter=None, **changes):
    parts = {
        "detector": Slices("detection", ("notumor", "tumor"), (1 - tumour, tumour)),
        "type_classifier": Slices("type", ("glioma", "meningioma", "notumor", "pituitary"), (0.6, 0.2, 0.1, 0.1)),
        "segmenter": segmenter or Truth(),
        "unavailable": {},
    }
    return Models.of(**(parts | changes))


@pytest.fixture
def aligned(monkeypatch):
    """Registration and the brain mask have their own tests; here the heads lie still, and both answer at once."""

    def still(fixed, moving):
        identity = RigidTransform.identity()
        return Registration(transform=identity, similarity_before=1.0, similarity_after=1.0, overlap=1.0)

    monkeypatch.setattr("pipeline.preparation.register_rigid", still)
    monkeypatch.setattr("pipeline.preparation.best_brain_mask", lambda volumes: brain_truth(next(volumes).grid))


@pytest.mark.usefixtures("aligned")
@pytest.mark.parametrize("roles", SUBSETS, ids=lambda roles: "+".join(roles))
def test_every_subset_of_roles_has_a_defined_outcome(roles):
    report = analyse({role: HEADS[role] for role in roles}, _models())
    assert report.roles == roles
    assert report.reference_role == next(role for role in REFERENCE_ORDER if role in roles)
    assert report.reference_grid.same_as(GRIDS[report.reference_role])
    assert report.detection.value == "tumour"
    assert report.tumour_type.value == "glioma"
    assert [timing.stage for timing in report.timings] == list(Stage)
    if len(roles) == 4:
        assert isinstance(report.segmentation, Segmentation)
        assert len(report.lesions) == 1
    else:
        assert report.segmentation.code is SkipCode.ROLE_MISSING
        assert all(role.value in report.segmentation.reason for role in set(ROLES) - set(roles))
        assert report.measurements.code is SkipCode.ROLE_MISSING


class FlairOnly(Truth):
    """A segmenter that reads FLAIR and has never seen another channel filled."""

    def segment(self, image, grid, progress=None):
        assert [bool(channel.any()) for channel in image] == [role is SeriesRole.FLAIR for role in CHANNEL_ORDER]
        return tumour_truth(grid)


@pytest.mark.usefixtures("aligned")
def test_a_model_that_needs_flair_alone_serves_where_flair_alone_came():
    models = replace(
        _models(),
        segmenters=(Installed(model=Broken()), Installed(model=FlairOnly(), needs=(SeriesRole.FLAIR,))),
    )
    report = analyse({SeriesRole.FLAIR: HEADS[SeriesRole.FLAIR]}, models)
    assert isinstance(report.segmentation, Segmentation)
    assert len(report.lesions) == 1
    choice = next(choice for choice in report.choices if choice.stage is Stage.SEGMENT)
    assert "it does without T1, T1CE, T2" in choice.reason
    assert [choice.stage for choice in report.choices] == [Stage.DETECT, Stage.CLASSIFY, Stage.SEGMENT]
    without = analyse({SeriesRole.T1: HEADS[SeriesRole.T1]}, replace(models, segmenters=models.segmenters[1:]))
    assert without.segmentation.reason == "the stage 'segment' needs FLAIR; missing: FLAIR"


@pytest.mark.usefixtures("aligned")
def test_a_model_for_thick_slices_only_is_skipped_on_a_3d_study_with_the_reason():
    only = Installed(model=Truth(), acquisition=(Acquisition.SLICES,))
    report = analyse(HEADS, replace(_models(), segmenters=(only,)))
    assert report.segmentation.code is SkipCode.MODEL_UNAVAILABLE
    assert "reads 2d series, and the reference is 3d" in report.segmentation.reason


def test_no_series_is_nothing_to_analyse():
    with pytest.raises(NothingToAnalyse):
        analyse({}, _models())


def test_a_constant_series_alone_is_nothing_to_analyse():
    flat = Volume(voxels=np.ones(GRIDS[SeriesRole.T1].shape), grid=GRIDS[SeriesRole.T1])
    with pytest.raises(NothingToAnalyse, match="constant"):
        analyse({SeriesRole.T1: flat}, _models())


@pytest.mark.usefixtures("aligned")
def test_a_constant_series_is_left_out_and_the_rest_goes_on():
    flat = Volume(voxels=np.ones(GRIDS[SeriesRole.T1].shape), grid=GRIDS[SeriesRole.T1])
    report = analyse(HEADS | {SeriesRole.T1: flat}, _models())
    assert SeriesRole.T1 not in report.roles
    assert report.segmentation.code is SkipCode.ROLE_MISSING
    assert "series-constant" in {flag.code for flag in report.flags}


@pytest.mark.slow
def test_moved_series_come_back_to_the_reference_grid_with_dice_above_095():
    rng = np.random.default_rng(7)
    volumes = {
        role: head(role, motion=RigidTransform.from_parameters(rng.uniform(-5, 5, 3), rng.uniform(-8, 8, 3)))
        for role in ROLES
        if role is not SeriesRole.T1CE
    }
    volumes[SeriesRole.T1CE] = HEADS[SeriesRole.T1CE]
    report = analyse(volumes, _models())
    truth = tumour_truth(report.reference_grid) > 0.5
    for region, expected in zip((Region.WT, Region.TC), truth, strict=False):
        found = report.segmentation.region(region).astype(bool)
        assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.95
    assert len(report.registrations) == 3
    assert all(result.similarity_after > result.similarity_before for result in report.registrations)


def test_a_series_that_cannot_be_registered_is_left_out_with_its_reason():
    grid = GRIDS[SeriesRole.T2]
    noise = Volume(voxels=np.random.default_rng(0).normal(100, 10, grid.shape), grid=grid)
    volumes = {SeriesRole.T1CE: HEADS[SeriesRole.T1CE], SeriesRole.T2: noise}
    report = analyse(volumes, _models(detector=Slices("detection", ("notumor", "tumor"), (0, 1), (SeriesRole.T2,))))
    assert report.roles == (SeriesRole.T1CE,)
    assert report.detection.code is SkipCode.REGISTRATION_FAILED
    assert report.segmentation.code is SkipCode.REGISTRATION_FAILED
    assert "registration-failed" in {flag.code for flag in report.flags}


@pytest.mark.usefixtures("aligned")
class TestWithAllRoles:
    def test_no_tumour_detected_is_not_typed_and_disagrees_with_the_segmentation(self):
        report = analyse(HEADS, _models(tumour=0.1))
        assert report.detection.value == "no tumour"
        assert report.detection.probability == pytest.approx(0.9)
        assert report.tumour_type.code is SkipCode.NO_TUMOUR_DETECTED
        assert "detection-segmentation-disagree" in {flag.code for flag in report.flags}

    def test_an_empty_segmentation_is_kept_and_nothing_is_measured(self):
        report = analyse(HEADS, _models(tumour=0.1, segmenter=Empty()))
        assert not report.segmentation.labels.any()
        assert report.measurements.code is SkipCode.NOTHING_SEGMENTED
        assert report.flags == ()

    def test_a_model_that_raises_costs_its_own_stage_only(self):
        report = analyse(HEADS, _models(segmenter=Broken()))
        assert isinstance(report.detection, Finding)
        assert report.segmentation.code is SkipCode.STAGE_FAILED
        assert "out of device memory" in report.segmentation.reason
        assert report.measurements.code is SkipCode.STAGE_FAILED
        assert "segment-failed" in {flag.code for flag in report.flags}

    def test_absent_models_are_skipped_with_their_reasons(self):
        reasons = {"detection": "hash differs", "type": "file missing", "segmentation": "wrong shape"}
        report = analyse(HEADS, Models.of(unavailable=reasons))
        assert [part.code for part in report.skipped] == [SkipCode.MODEL_UNAVAILABLE] * 4
        assert report.detection == Skipped(stage=Stage.DETECT, code=SkipCode.MODEL_UNAVAILABLE, reason="hash differs")
        assert "wrong shape" in report.measurements.reason

    def test_an_answer_that_is_no_probability_is_refused(self):
        report = analyse(HEADS, _models(detector=Slices("detection", ("notumor", "tumor"), (3.0, -2.0))))
        assert report.detection.code is SkipCode.STAGE_FAILED

    def test_progress_runs_through_the_stages_in_order(self):
        seen = []
        analyse(HEADS, _models(), lambda stage, share: seen.append((stage, share)))
        assert list(dict.fromkeys(stage for stage, _ in seen)) == list(Stage)
        assert all(0 <= share <= 1 for _, share in seen)
