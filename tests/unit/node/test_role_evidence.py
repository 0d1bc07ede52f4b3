"""Headers and images joined, as a table: who is believed, and what a person is told."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
import pytest

from dicom_node.inbound.role_leanings import Leaning
from dicom_node.role_evidence import Evidence, joined
from pipeline.role_images import Looks, subtractions_of, weigh
from pipeline.volume import SeriesRole

T1, T1CE, T2, FLAIR = SeriesRole


def leaning(**weights: float) -> Leaning:
    ranked = sorted(weights.values(), reverse=True)
    lead = ranked[0] - ranked[1] if len(ranked) > 1 else float("inf")
    return Leaning(weights={SeriesRole(role): weight for role, weight in weights.items()}, lead=lead)


SURE_T2 = leaning(T2=0.0)
WORDS_T2 = leaning(T1=0.0, T1CE=0.0, T2=4.0, FLAIR=0.0)
SILENT = leaning(T1=0.0, T1CE=0.0, T2=0.0, FLAIR=0.0)


def looks(**likely: tuple[SeriesRole, float]) -> Looks:
    """Each series by itself: a role and its probability, the rest shared by the others."""
    alone: dict[str, Mapping[SeriesRole, float]] = {
        name: {role: log(share if role is likeliest else (1 - share) / 3) for role in SeriesRole}
        for name, (likeliest, share) in likely.items()
    }
    return Looks(alone=alone, between={}, subtractions={})


def one(header: Leaning, seen: Looks) -> tuple[Evidence, SeriesRole | None, str]:
    """The evidence of a study of one series, its seen role, and the code of its flag."""
    found = joined({"a": "name"}, {"a": header}, seen)
    role = found.seen["a"].role if "a" in found.seen else None
    return found, role, found.doubts["a"].code if "a" in found.doubts else ""


@pytest.mark.parametrize(
    ("header", "likely", "share", "role", "flag"),
    [
        (SURE_T2, T2, 0.9, None, ""),
        (SURE_T2, FLAIR, 0.6, None, ""),
        (SURE_T2, FLAIR, 0.9999, None, "role-contradicted"),
        (WORDS_T2, T2, 0.9, T2, ""),
        (WORDS_T2, FLAIR, 0.9, T2, "role-uncertain"),
        (WORDS_T2, FLAIR, 0.99999, FLAIR, "role-uncertain"),
        (SILENT, FLAIR, 0.9, FLAIR, "role-uncertain"),
    ],
)
def test_who_is_believed(header: Leaning, likely: SeriesRole, share: float, role: SeriesRole | None, flag: str) -> None:
    found, seen, code = one(header, looks(a=(likely, share)))
    assert (seen, code) == (role, flag)
    if seen:
        assert found.seen["a"].reason


def test_a_silent_header_whose_image_cannot_be_judged_is_flagged() -> None:
    assert one(SILENT, looks())[1:] == (None, "role-uncertain")
    assert one(WORDS_T2, looks())[1:] == (None, "")


def test_one_wrong_word_distrusts_the_others() -> None:
    """The image of a cries out, that of b only speaks: without a, b's words would have stood."""
    words_flair = leaning(T1=0.0, T1CE=0.0, T2=0.0, FLAIR=4.0)
    seen = looks(a=(FLAIR, 0.99999), b=(T2, 0.95))
    found = joined({"a": "a", "b": "b"}, {"a": WORDS_T2, "b": words_flair}, seen)
    assert {name: looked.role for name, looked in found.seen.items()} == {"a": FLAIR, "b": T2}
    assert set(found.doubts) == {"a", "b"}


def test_two_series_are_told_apart_by_each_other() -> None:
    pair = {(("a", "b"), (T1, T1CE)): -6.0, (("b", "a"), (T1CE, T1)): -6.0}
    pair |= {(("a", "b"), (T1CE, T1)): 6.0, (("b", "a"), (T1, T1CE)): 6.0}
    seen = Looks(alone={}, between=pair, subtractions={})
    either = {T1: 0.0, T1CE: 0.0}
    found = weigh({"a": either, "b": either}, seen)
    assert found.roles == {"a": T1CE, "b": T1}
    assert found.margin["a"] == pytest.approx(3.0)


def test_a_subtraction_is_seen_as_one_series_less_another() -> None:
    random = np.random.default_rng(1)
    before, bright = random.gamma(4.0, 50.0, 20_000), random.random(20_000) < 0.2
    after = before * random.normal(1, 0.02, before.size) + np.where(bright, random.gamma(4.0, 60.0, before.size), 0)
    values = {"before": before, "after": after, "less": np.maximum(after - before, 0)}
    assert subtractions_of(values) == {"less": ("after", "before")}
    assert subtractions_of({"before": before, "after": after, "other": random.gamma(4.0, 50.0, 20_000)}) == {}


def test_a_subtraction_is_left_out_where_its_header_does_not_tell() -> None:
    seen = Looks(alone={}, between={}, subtractions={"a": ("b", "c")})
    names = {"a": "", "b": "T1 KM", "c": "T1"}
    found = joined(names, {"a": SILENT, "b": leaning(T1CE=0.0), "c": leaning(T1=0.0)}, seen)
    assert found.seen["a"].role is None
    assert "'T1 KM' less that of 'T1'" in found.seen["a"].reason
