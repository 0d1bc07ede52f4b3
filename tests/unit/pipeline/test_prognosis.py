"""The hook for a survival model: what it is given, what it may not do, and that none is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pipeline.models.protocols import Models, SurvivalModel
from pipeline.prognosis import with_prognosis
from pipeline.report import ModelIdentity, SkipCode, Skipped, Stage
from pipeline.report_json import report_from_dict, report_to_dict
from pipeline.survival import NO_MODEL, PROGNOSIS_WARNING, PrognosisFacts, Survival
from pipeline.volume import Grid
from tests.report_builders import full_report

REPORT = full_report(Grid(shape=(8, 7, 6), affine=np.eye(4)))


@dataclass(frozen=True, kw_only=True)
class Halving:
    """A site's model, as far as the hook is concerned: 24 months, less the older and the larger."""

    rule: Callable[[PrognosisFacts], Survival] = lambda facts: Survival(
        median_months=24.0 - facts.age_years / 10 - facts.volumes_ml["WT"] / 10,
        low_months=1.0,
        high_months=40.0,
        coverage=0.9,
    )

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(name="site", version="4", task="survival", weights_sha256="e" * 64)

    def estimate(self, facts: PrognosisFacts) -> Survival:
        return self.rule(facts)


def models(**parts: SurvivalModel) -> Models:
    return replace(Models(), **parts)


def test_without_a_model_the_report_says_so_and_unasked_it_says_nothing() -> None:
    asked = with_prognosis(REPORT, Models(), 61.0)
    assert asked.prognosis is not None
    assert (asked.prognosis.survival, asked.prognosis.reason) == (None, NO_MODEL)
    assert report_to_dict(asked)["prognosis"]["reason"] == "no model installed"
    assert "prognosis" not in report_to_dict(REPORT)


def test_a_model_is_given_age_and_total_volumes_and_named_with_the_warning() -> None:
    assert isinstance(Halving(), SurvivalModel)
    told = with_prognosis(REPORT, models(survival=Halving()), 60.0).prognosis
    assert told is not None
    assert told.survival is not None
    assert told.survival.median_months == pytest.approx(24.0 - 6.0 - 1.23456789)
    assert (told.model_name, told.model_version, told.warning) == ("site", "4", PROGNOSIS_WARNING)


def test_it_comes_back_from_json() -> None:
    report = with_prognosis(REPORT, models(survival=Halving()), 60.0)
    assert report_from_dict(report_to_dict(report), report.segmentation).prognosis == report.prognosis  # type: ignore[arg-type]


def test_what_cannot_be_estimated_or_fails_costs_only_the_estimate() -> None:
    def fails(facts: PrognosisFacts) -> Survival:
        raise RuntimeError("weights of another shape")

    skipped = Skipped(stage=Stage.MEASURE, code=SkipCode.NOTHING_SEGMENTED, reason="no voxel")
    reasons = [
        with_prognosis(REPORT, models(survival=Halving()), None).prognosis,
        with_prognosis(replace(REPORT, measurements=skipped), models(survival=Halving()), 60.0).prognosis,
        with_prognosis(REPORT, models(survival=Halving(rule=fails)), 60.0).prognosis,
        with_prognosis(REPORT, models(survival=Halving()), 400.0).prognosis,
    ]
    assert [one.reason for one in reasons if one is not None] == [
        "the patient's age is not known",
        "no tumour volume was measured",
        "the model failed: RuntimeError",
        "the model failed: ValueError",
    ]
