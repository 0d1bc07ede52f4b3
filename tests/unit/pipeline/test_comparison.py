"""Answers for the record: of the report, and of shadow models beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis import analyse
from pipeline.comparison import Comparison, report_answers
from pipeline.geometry import RigidTransform
from pipeline.models.protocols import Installed, ModelMode, Models
from pipeline.registration import Registration
from pipeline.report import ModelIdentity, Skipped
from pipeline.report_json import report_to_dict
from pipeline.volume import SeriesRole
from tests.synthetic_head import brain_truth, head, tumour_truth

ROLES = tuple(SeriesRole)
HEADS = {role: head(role) for role in ROLES}


def _identity(task, name="active"):
    return ModelIdentity(name=name, version="1", task=task, weights_sha256=f"{len(name):064x}")


class Slices:
    input_size = 224
    threshold = 0.5
    roles = ROLES

    def __init__(self, task, classes, row, name="active"):
        self.identity, self.classes, self.row = _identity(task, name), classes, row

    def predict(self, slices):
        return np.tile(np.array(self.row, np.float32), (len(slices), 1))


class Truth:
    spacing_mm = 2.0

    def __init__(self, name="active", grown=False):
        self.identity, self.grown = _identity("segmentation", name), grown

    def segment(self, image, grid, progress=None):
        progress(0.5)
        regions = tumour_truth(grid)
        # The grown one takes the whole tumour for core, and so on outwards.
        return regions if not self.grown else regions[[0, 0, 1]]


class Broken(Truth):
    def segment(self, image, grid, progress=None):
        raise MemoryError("no room")


def detector(tumour, name="active"):
    return Slices("detection", ("notumor", "tumor"), (1 - tumour, tumour), name)


ACTIVE = Models.of(
    detector=detector(0.9),
    type_classifier=Slices("type", ("glioma", "meningioma"), (0.6, 0.4)),
    segmenter=Truth(),
)


def shadow(model):
    return Installed(model=model, mode=ModelMode.SHADOW)


WITH_SHADOWS = replace(
    ACTIVE,
    detectors=(*ACTIVE.detectors, shadow(detector(0.2, "doubter"))),
    segmenters=(shadow(Truth("grown", grown=True)), *ACTIVE.segmenters, shadow(Broken("broken"))),
)


@pytest.fixture(autouse=True)
def aligned(monkeypatch):
    def still(fixed, moving):
        identity = RigidTransform.identity()
        return Registration(transform=identity, similarity_before=1.0, similarity_after=1.0, overlap=1.0)

    monkeypatch.setattr("pipeline.preparation.register_rigid", still)
    monkeypatch.setattr("pipeline.preparation.best_brain_mask", lambda volumes: brain_truth(next(volumes).grid))


def test_a_report_is_the_same_with_and_without_shadow_models():
    with_them, without = (report_to_dict(analyse(HEADS, models)) for models in (WITH_SHADOWS, ACTIVE))
    assert {**with_them, "timings": []} == {**without, "timings": []}


def test_shadow_answers_carry_their_agreement_with_the_report():
    report = analyse(HEADS, ACTIVE)
    waits = []
    comparison = Comparison(HEADS, report, lambda: waits.append(1))
    due = comparison.due(WITH_SHADOWS)
    assert [one.model.identity.name for one in due] == ["doubter", "grown", "broken"]
    doubter, grown, broken = map(comparison.answer, due)

    assert doubter.answer["value"] == "no tumour"
    assert doubter.agreement == {"same_value": False}
    assert doubter.mode is ModelMode.SHADOW

    sent = {answer.model.task: answer for answer in report_answers(report)}["segmentation"].answer["volumes_ml"]
    assert sent["WT"] > sent["TC"] > 0
    assert grown.agreement["same_value"]
    assert grown.agreement["dice"]["WT"] == 1.0
    assert grown.agreement["dice"]["TC"] < 0.9
    assert grown.agreement["volume_difference_ml"]["TC"] == pytest.approx(sent["WT"] - sent["TC"])
    assert grown.seconds > 0

    assert (broken.answer, broken.agreement) == (None, None)
    assert broken.error == "MemoryError: no room"
    assert len(waits) > 5


def test_the_reports_own_answers_say_how_they_came_to_be_there():
    version_b = Installed(model=detector(0.8, "version-b"), mode=ModelMode.AB, share=1.0)
    report = analyse(HEADS, replace(ACTIVE, detectors=(*ACTIVE.detectors, version_b)), study_uid="1.2.3")
    answers = report_answers(report)
    assert [(answer.model.name, answer.mode.value) for answer in answers] == [
        ("version-b", "ab"),
        ("active", "active"),
        ("active", "active"),
    ]
    assert answers[0].answer["probabilities"] == pytest.approx({"tumour": 0.8, "no tumour": 0.2})
    assert all(answer.peak_memory_mb > 0 for answer in answers)


def test_a_shadow_that_cannot_read_the_study_is_not_due():
    one = {SeriesRole.T1CE: HEADS[SeriesRole.T1CE]}
    report = analyse(one, ACTIVE)
    assert isinstance(report.segmentation, Skipped)
    due = Comparison(one, report, lambda: None).due(WITH_SHADOWS)
    assert [installed.model.identity.name for installed in due] == ["doubter"]


def test_a_shadow_type_model_waits_for_a_tumour():
    models = replace(
        ACTIVE,
        detectors=(Installed(model=detector(0.1)),),
        type_classifiers=(shadow(Slices("type", ("glioma", "meningioma"), (1.0, 0.0), "other")),),
    )
    one = {SeriesRole.T1CE: HEADS[SeriesRole.T1CE]}
    assert Comparison(one, analyse(one, models), lambda: None).due(models) == []
