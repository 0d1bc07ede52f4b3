"""Suggested imaging-only response by RANO 2.0's thresholds, with its arithmetic. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.followup import Category, Response

CONFIRM_DAYS = 28
#: Rounding of floats must not move a value across a threshold that it lies on.
_EXACT = 1e-9


@dataclass(frozen=True, kw_only=True)
class ResponseRule:
    """partial: of the baseline, at most; progression: of the nadir, at least."""

    method: str
    unit: str
    partial: float
    progression: float


PRODUCTS = ResponseRule(
    method="sum of products of diameters of the targets", unit="mm2", partial=0.50, progression=1.25
)
VOLUMES = ResponseRule(method="volume of enhancing tumour", unit="mL", partial=0.35, progression=1.40)


@dataclass(frozen=True, kw_only=True)
class Burden:
    """What one visit shows. value: in the rule's unit, 0 where nothing is measurable. enhancing_left: any at all.

    new_lesion: a measurable enhancing lesion that the visit before had not, also within a lesion that did not enhance
    then. outside_targets: a measurable enhancing lesion that is none of the baseline's targets.
    """

    day: date
    value: float
    enhancing_left: bool
    new_lesion: bool = False
    outside_targets: bool = False


def suggest(burdens: Sequence[Burden], rule: ResponseRule) -> Response:
    """The category of the last of `burdens`, oldest first; the first one is the baseline.

    Raises:
        ValueError: none, or not in order of days.
    """
    if not burdens or list(burdens) != sorted(burdens, key=lambda one: one.day):
        raise ValueError("a response needs at least one visit, in order of days")
    judged = [_judge(burdens[: n + 1], rule) for n in range(len(burdens))]
    category, sentences = judged[-1]
    current, baseline = burdens[-1], burdens[0]
    progressed = next(
        (one.day for one, (found, _) in zip(burdens, judged, strict=True) if found is Category.PROGRESSIVE), None
    )
    confirmed = _confirmed([found for found, _ in judged], [one.day for one in burdens])
    if confirmed is not None:
        sentences.append(
            f"The same or better was seen at least {CONFIRM_DAYS} days before: confirmed."
            if confirmed and category is not Category.PROGRESSIVE
            else f"Progression was seen at least {CONFIRM_DAYS} days before and since: confirmed."
            if confirmed
            else f"Not confirmed: it has not been seen at two visits {CONFIRM_DAYS} days or more apart."
        )
    if progressed is not None and category is not Category.PROGRESSIVE:
        sentences.append(f"An earlier visit suggested progression: {progressed.isoformat()}.")
    return Response(
        method=rule.method,
        unit=rule.unit,
        category=category,
        baseline=baseline.value,
        nadir=_nadir(burdens),
        current=current.value,
        confirmed=confirmed,
        first_progression=progressed,
        arithmetic=tuple(sentences),
    )


def _nadir(burdens: Sequence[Burden]) -> float:
    """The least value before the last visit, the baseline's included; of a lone visit its own."""
    return min(one.value for one in (burdens[:-1] or burdens))


def _judge(burdens: Sequence[Burden], rule: ResponseRule) -> tuple[Category, list[str]]:
    current, baseline, nadir = burdens[-1], burdens[0], _nadir(burdens)
    unit = rule.unit
    if len(burdens) == 1:
        return Category.NOT_EVALUABLE, [f"Baseline: {rule.method} {current.value:.2f} {unit}."]
    said = [
        f"Baseline {baseline.day.isoformat()}: {baseline.value:.2f} {unit}; "
        f"nadir before this visit: {nadir:.2f} {unit}; now: {current.value:.2f} {unit}."
    ]
    if current.new_lesion:
        return Category.PROGRESSIVE, [*said, "A new measurable enhancing lesion: PD."]
    if not current.enhancing_left:
        if any(one.enhancing_left for one in burdens[:-1]):
            return Category.COMPLETE, [*said, "No enhancing tumour is left: CR."]
        return Category.STABLE, [*said, "There was and is no enhancing tumour: SD."]
    if baseline.value <= 0 and nadir <= 0:
        if current.value > 0 or current.outside_targets:
            return Category.NOT_EVALUABLE, [*said, "Nothing was measurable before and now something is: not evaluable."]
        return Category.STABLE, [*said, "Enhancing tumour is there and not measurable, as before: SD."]
    if nadir <= 0:
        if current.value > 0:
            return Category.PROGRESSIVE, [*said, "The nadir was 0 and measurable tumour is back: PD."]
        return Category.PARTIAL, [*said, "What is left is not measurable: PR."]
    of_nadir, of_baseline = current.value / nadir, current.value / baseline.value
    said.append(f"Against the nadir {_percent(of_nadir)}, against the baseline {_percent(of_baseline)}.")
    if current.outside_targets and rule is PRODUCTS:
        said.append("A measurable lesion is not among the targets, and not in the sum: look at it.")
    if of_nadir >= rule.progression * (1 - _EXACT):
        return Category.PROGRESSIVE, [*said, f"A rise of {100 * (rule.progression - 1):.0f} % or more: PD."]
    if of_baseline <= rule.partial * (1 + _EXACT):
        return Category.PARTIAL, [*said, f"A fall of {100 * (1 - rule.partial):.0f} % or more: PR."]
    return Category.STABLE, [*said, "Neither threshold is reached: SD."]


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _confirmed(categories: Sequence[Category], days: Sequence[date]) -> bool | None:
    """Whether the last category, or a better response, has held for `CONFIRM_DAYS`, without a break."""
    as_good = {
        Category.COMPLETE: {Category.COMPLETE},
        Category.PARTIAL: {Category.COMPLETE, Category.PARTIAL},
        Category.PROGRESSIVE: {Category.PROGRESSIVE},
    }.get(categories[-1])
    if as_good is None:
        return None
    for category, day in zip(reversed(categories[:-1]), reversed(days[:-1]), strict=True):
        if category not in as_good:
            return False
        if (days[-1] - day).days >= CONFIRM_DAYS:
            return True
    return False
