"""Suggested categories against a table made by hand, values on the thresholds included."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from pipeline.longitudinal.response import PRODUCTS, VOLUMES, Burden, suggest

DAY = date(2026, 1, 5)
_ = False
N = "new"
G = "gone"
OUT = "outside"  # a measurable lesion that is none of the targets, which are not measurable
E = "enhancing"  # there is enhancing tumour, nothing of it measurable

#: Visits are 30 days apart. A number: measurable, that much. G: no enhancement at all, E: some, not measurable.
#: OUT: measurable outside the targets alone.
#: (number, N): that much, and a new measurable lesion. Then: category and confirmed, by products and by volumes.
TABLE = [
    # visits                       products         volumes
    ([100], ("NE", None), ("NE", None)),
    ([100, 100], ("SD", None), ("SD", None)),
    ([100, 50], ("PR", _), ("SD", None)),  # exactly -50 %
    ([100, 50.01], ("SD", None), ("SD", None)),
    ([100, 49.99], ("PR", _), ("SD", None)),
    ([100, 35], ("PR", _), ("PR", _)),  # exactly -65 %
    ([100, 35.01], ("PR", _), ("SD", None)),
    ([100, 125], ("PD", _), ("SD", None)),  # exactly +25 %
    ([100, 124.99], ("SD", None), ("SD", None)),
    ([100, 140], ("PD", _), ("PD", _)),  # exactly +40 %
    ([100, 139.99], ("PD", _), ("SD", None)),
    ([80, 28], ("PR", _), ("PR", _)),  # 0.35 x 80 is 28.0 only up to rounding
    ([0.3, 0.42], ("PD", _), ("PD", _)),  # so is 1.4 x 0.3
    ([100, G], ("CR", _), ("CR", _)),
    ([100, G, G], ("CR", True), ("CR", True)),
    ([100, 50, 50], ("PR", True), ("SD", None)),
    ([100, 30, 30], ("PR", True), ("PR", True)),
    ([100, G, 30], ("PD", _), ("PD", _)),  # back after a nadir of 0
    ([100, 40, 50], ("PD", _), ("SD", None)),  # +25 % from the nadir, -50 % from the baseline: PD counts
    ([100, 40, 49.9], ("PR", True), ("SD", None)),
    ([100, 30, 42], ("PD", _), ("PD", _)),  # +40 % from the nadir
    ([100, 150, 150], ("PD", True), ("PD", True)),  # twice 50 % above the nadir of 100
    ([100, (100, N)], ("PD", _), ("PD", _)),
    ([100, (20, N)], ("PD", _), ("PD", _)),  # a new lesion outweighs any fall
    ([G, G], ("SD", None), ("SD", None)),
    ([G, (60, N)], ("PD", _), ("PD", _)),
    ([E, E], ("SD", None), ("SD", None)),
    ([E, G], ("CR", _), ("CR", _)),
    ([E, 120], ("NE", None), ("NE", None)),
    ([E, OUT], ("NE", None), ("NE", None)),
    ([100, G, E], ("PR", True), ("PR", True)),
    ([100, 60, 30, 30], ("PR", True), ("PR", True)),
    ([100, 45, 60, 45], ("PR", _), ("SD", None)),  # the visit between broke the response
]


def _burdens(visits, gap_days=30):
    return [
        Burden(
            day=DAY + timedelta(days=gap_days * n),
            value=visit[0] if isinstance(visit, tuple) else 0.0 if visit in (G, E, OUT) else float(visit),
            enhancing_left=visit != G,
            new_lesion=isinstance(visit, tuple),
            outside_targets=visit == OUT,
        )
        for n, visit in enumerate(visits)
    ]


@pytest.mark.parametrize(("visits", "products", "volumes"), TABLE)
def test_category_and_confirmation(visits, products, volumes):
    for rule, expected in ((PRODUCTS, products), (VOLUMES, volumes)):
        found = suggest(_burdens(visits), rule)
        assert (found.category.value, found.confirmed) == expected
        assert "no verdict" in found.notice
        assert "Steroid dose" in found.notice
        assert found.arithmetic[0].startswith("Baseline")


def test_the_table_is_long_enough():
    assert len(TABLE) >= 30


@pytest.mark.parametrize(("gap_days", "confirmed"), [(27, False), (28, True)])
def test_confirmation_needs_four_weeks(gap_days, confirmed):
    assert suggest(_burdens([100, 30, 30], gap_days), PRODUCTS).confirmed is confirmed


def test_arithmetic_can_be_checked_by_hand():
    found = suggest(_burdens([400, 120, 150]), PRODUCTS)
    assert (found.baseline, found.nadir, found.current) == (400, 120, 150)
    assert found.arithmetic == (
        "Baseline 2026-01-05: 400.00 mm2; nadir before this visit: 120.00 mm2; now: 150.00 mm2.",
        "Against the nadir +25.0 %, against the baseline -62.5 %.",
        "A rise of 25 % or more: PD.",
        "Not confirmed: it has not been seen at two visits 28 days or more apart.",
    )


def test_an_earlier_progression_is_not_forgotten():
    found = suggest(_burdens([100, 130, 110]), PRODUCTS)
    assert found.category.value == "SD"
    assert found.first_progression == DAY + timedelta(days=30)
    assert found.arithmetic[-1] == "An earlier visit suggested progression: 2026-02-04."


def test_visits_out_of_order_are_refused():
    with pytest.raises(ValueError, match="in order"):
        suggest(list(reversed(_burdens([100, 50]))), PRODUCTS)
    with pytest.raises(ValueError, match="at least one"):
        suggest([], PRODUCTS)


def test_a_measurable_lesion_outside_the_targets_is_named():
    before, now = _burdens([400, 400])
    found = suggest([before, replace(now, outside_targets=True)], PRODUCTS)
    assert found.category.value == "SD"
    assert "A measurable lesion is not among the targets, and not in the sum: look at it." in found.arithmetic
