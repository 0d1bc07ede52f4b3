"""What is said of survival: plain values of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROGNOSIS_WARNING = (
    "A statistical estimate from age and image volumes alone, for research: not a prognosis for this patient. "
    "Histology, molecular markers, resection, treatment and general condition, which decide, are unknown to it."
)
NO_MODEL = "no model installed"


@dataclass(frozen=True, kw_only=True)
class PrognosisFacts:
    """What a survival model is given. volumes_ml: WT, TC, ET, NCR, ED in total, of those that were measured."""

    age_years: float
    volumes_ml: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Median survival in months and the interval that holds the true value with this coverage (0..1).

    Raises:
        ValueError: the interval does not hold the median, or is no interval.
    """

    median_months: float
    low_months: float
    high_months: float
    coverage: float

    def __post_init__(self) -> None:
        if not (0 <= self.low_months <= self.median_months <= self.high_months and 0 < self.coverage < 1):
            raise ValueError("a survival estimate needs an interval around its median, and the interval's coverage")


@dataclass(frozen=True, kw_only=True)
class Prognosis:
    """survival and the model that gave it, or None and why there is none."""

    survival: Survival | None = None
    model_name: str = ""
    model_version: str = ""
    weights_sha256: str = ""
    reason: str = ""
    warning: str = PROGNOSIS_WARNING


def prognosis_to_dict(prognosis: Prognosis) -> dict[str, Any]:
    """As plain values."""
    return asdict(prognosis)


def prognosis_from_dict(values: Mapping[str, Any] | None) -> Prognosis | None:
    """What `prognosis_to_dict` wrote; None for a report without. Raises TypeError, ValueError for other values."""
    if values is None:
        return None
    survival = values["survival"]
    return Prognosis(**{**values, "survival": None if survival is None else Survival(**survival)})
