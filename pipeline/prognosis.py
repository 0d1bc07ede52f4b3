"""A survival estimate from age and measured volumes, where a site installed a model for it. Off unless asked for.

No such model comes with the node: none could be trained on data the project has. Without one the report says so.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.models.protocols import Models
from pipeline.report import Report, Skipped
from pipeline.survival import NO_MODEL, Prognosis, PrognosisFacts


def with_prognosis(report: Report, models: Models, age_years: float | None) -> Report:
    """The report with an estimate, or with the reason why there is none; whatever a model raises is such a reason."""
    return replace(report, prognosis=_prognosis(report, models, age_years))


def _prognosis(report: Report, models: Models, age_years: float | None) -> Prognosis:
    model = models.survival
    if model is None:
        return Prognosis(reason=NO_MODEL)
    if age_years is None:
        return Prognosis(reason="the patient's age is not known")
    measurements = () if isinstance(report.measurements, Skipped) else report.measurements
    volumes = {m.subject: m.value for m in measurements if m.quantity == "volume" and m.lesion is None}
    if not volumes.get("WT"):
        return Prognosis(reason="no tumour volume was measured")
    try:
        survival = model.estimate(PrognosisFacts(age_years=age_years, volumes_ml=volumes))
    except Exception as error:  # foreign code: it must not cost the report
        return Prognosis(reason=f"the model failed: {type(error).__name__}")
    known = model.identity
    return Prognosis(
        survival=survival, model_name=known.name, model_version=known.version, weights_sha256=known.weights_sha256
    )
