"""Does a series look like the contrast it is taken for? Numbers from the brain's grey values, and a fitted table.

Two questions are asked. Of one series: which of the four contrasts does it look like? Of two series of a study: do they
look as if their roles were exchanged? The second sees more, as both show the same brain. The table is made by
`pipeline.models.training.contrast_fit`; docs/input-check.md has what it was measured on.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.input_images import SPACING_MM
from pipeline.report import Flag
from pipeline.volume import CHANNEL_ORDER, FloatArray, SeriesRole

#: Shells of the brain, by distance from its surface.
DEPTHS_MM = (0.0, 4.0, 8.0, 14.0, 22.0, 32.0, 1e3)
#: Where the ventricles lie: centre and half axes, as shares of the brain's box (left to right, back to front, up).
_VENTRICLES = ((0.5, 0.5, 0.58), (0.12, 0.22, 0.14))
_PERCENTILES = (0.5, 5, 10, 25, 50, 75, 90, 95, 99, 99.8)
#: Fewer voxels than this (some 270 mL) are no brain to judge by.
LEAST_VOXELS = 10_000
#: Below this probability of its role a series is flagged, and above this one two exchanged series are.
WRONG_BELOW = 0.01
EXCHANGED_ABOVE = 0.8
#: Log-odds of the exchange from each series by itself, without which the comparison of two is not asked: it knows only
#: its own two contrasts.
_ALONE_AGREES = -3.0

_Features = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) to the place of each value among all, 0..1."""
    order = np.empty(len(values), np.float64)
    order[np.argsort(values, kind="stable")] = np.arange(len(values))
    return order / max(len(values) - 1, 1)


def series_features(image: FloatArray, brain: NDArray[np.bool_]) -> _Features:
    """(f,) numbers of one series. image, brain: as `CheckImages` has them.

    They do not change with the scale or offset of the grey values: where the percentiles lie, how bright the brain is
    at each depth and in the ventricles, how fine its texture is.
    """
    values = image[brain].astype(np.float64)
    place = ranks(values) - 0.5
    points = np.percentile(values, _PERCENTILES)
    spread = max(float(points[6] - points[2]), 1e-6 * max(abs(float(points[4])), 1e-6))
    shape = np.clip((points[[0, 1, 3, 5, 7, 8, 9]] - points[4]) / spread, -8, 8)
    depth = ndimage.distance_transform_edt(brain, sampling=SPACING_MM)[brain]
    shells = [_mean(place[(depth > a) & (depth <= b)]) for a, b in pairwise(DEPTHS_MM)]
    inside = place[_ventricle_zone(brain)]
    ventricles = np.percentile(inside, (5, 25, 50, 75, 95)) if inside.size else np.zeros(5)
    weight = np.maximum(ndimage.uniform_filter(brain.astype(np.float64), 3), 1e-6)
    smooth = (ndimage.uniform_filter(np.where(brain, image, 0).astype(np.float64), 3) / weight)[brain]
    texture = np.log(max(float(np.std(values - smooth)) / spread, 1e-4))
    with_depth = float(np.corrcoef(place, np.minimum(depth, 30))[0, 1]) if np.ptp(depth) > 0 else 0.0
    return np.array([*shape, *shells, *ventricles, texture, with_depth])


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastNumbers(Generic[Name]):
    """The numbers of a study's series, by role, or by any name where roles are not known.

    series: (f,) by role. joint: (h,) by two roles, either way round, the one the negative of the other.
    """

    series: Mapping[Name, _Features]
    joint: Mapping[tuple[Name, Name], _Features]

    def pair(self, first: Name, second: Name) -> _Features:
        """(h + f,) numbers of two series, the negative of themselves for the other way round."""
        return np.concatenate([self.joint[first, second], self.series[first] - self.series[second]])


def contrast_numbers(images: Mapping[Name, FloatArray], brain: NDArray[np.bool_]) -> ContrastNumbers[Name]:
    """images, brain: as `CheckImages` has them."""
    values = {role: image[brain].astype(np.float64) for role, image in images.items()}
    places = {role: ranks(own) for role, own in values.items()}
    scored = {role: _robust(own) for role, own in values.items()}
    joint = {}
    for first, second in combinations(images, 2):
        joint[first, second] = _joint(places[first], places[second], scored[first] - scored[second])
        joint[second, first] = -joint[first, second]
    return ContrastNumbers(series={role: series_features(image, brain) for role, image in images.items()}, joint=joint)


def _joint(first: _Features, second: _Features, difference: _Features) -> _Features:
    """How bright one series is where the other is brightest and darkest, and which has the longer bright tail."""
    ends = []
    for share in (0.02, 0.1):
        for bright in (True, False):
            chosen = [one > 1 - share if bright else one < share for one in (first, second)]
            ends.append(_mean(second[chosen[0]]) - _mean(first[chosen[1]]))
    low, middle, high = np.percentile(difference, (0.5, 50, 99.5))
    return np.array([*ends, float(np.clip((high - middle) - (middle - low), -8, 8))])


def _ventricle_zone(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool (n,), for the brain's voxels."""
    indices = np.argwhere(brain)
    low, high = np.percentile(indices, (1, 99), axis=0)
    centre, axes = np.array(_VENTRICLES)
    share = (indices - low) / np.maximum(high - low, 1)
    zone: NDArray[np.bool_] = (((share - centre) / axes) ** 2).sum(axis=1) < 1
    return zone


def _robust(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, middle, high = (float(point) for point in np.percentile(values, (10, 50, 90)))
    return (values - middle) / max(high - low, 1e-9)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastTable:
    """Fitted numbers. centre, scale: (f,). single: (4, f + 1), the last column the offset; rows in `CHANNEL_ORDER`.

    pairs: of two roles, in `CHANNEL_ORDER`, the scale (g,) and the weights (g,).
    """

    centre: _Features
    scale: _Features
    single: _Features
    pairs: Mapping[tuple[SeriesRole, SeriesRole], tuple[_Features, _Features]]

    def role_log_probabilities(self, features: _Features) -> dict[SeriesRole, float]:
        """What the numbers of one series say of its role."""
        scaled = np.clip((features - self.centre) / self.scale, -4, 4)
        scores = self.single[:, :-1] @ scaled + self.single[:, -1]
        logs = scores - scores.max()
        logs -= np.log(np.exp(logs).sum())
        return {role: float(value) for role, value in zip(CHANNEL_ORDER, logs, strict=True)}

    def exchanged_log_odds(self, features: _Features, pair: tuple[SeriesRole, SeriesRole]) -> float:
        """By how much it is more likely that two series have each other's role than that they have their own.

        features: `ContrastNumbers.pair` of the two, the one taken for the first role first.
        """
        scale, weights = self.pairs[pair]
        return -float(np.clip(features / scale, -4, 4) @ weights)


@dataclass(frozen=True, kw_only=True)
class ContrastFinding:
    """Series that do not look like their role. roles: one, or two that look exchanged. probability: of the roles as
    they stand for one, of the exchange for two. looks_like: for one, the role it looks like, with its probability."""

    roles: tuple[SeriesRole, ...]
    probability: float
    looks_like: tuple[SeriesRole, float] | None = None


def contrast_findings(numbers: ContrastNumbers[SeriesRole], table: ContrastTable) -> tuple[ContrastFinding, ...]:
    """Which series do not look like their role.

    Two series are held to be exchanged where both their comparison and each by itself say so.
    """
    logs = {role: table.role_log_probabilities(features) for role, features in numbers.series.items()}
    odds: dict[tuple[SeriesRole, SeriesRole], float] = {}
    for first, second in combinations([role for role in CHANNEL_ORDER if role in logs], 2):
        alone = logs[first][second] + logs[second][first] - logs[first][first] - logs[second][second]
        if alone > _ALONE_AGREES:
            odds[first, second] = table.exchanged_log_odds(numbers.pair(first, second), (first, second))
    found: list[ContrastFinding] = []
    told: set[SeriesRole] = set()
    for both in sorted(odds, key=lambda one: -odds[one]):
        probability = float(1 / (1 + np.exp(-np.clip(odds[both], -50, 50))))
        if probability > EXCHANGED_ABOVE and not told & set(both):
            told |= set(both)
            found.append(ContrastFinding(roles=both, probability=probability))
    for role in logs:
        probability = float(np.exp(logs[role][role]))
        if role not in told and probability < WRONG_BELOW:
            likely = max(logs[role], key=lambda one: logs[role][one])
            likeness = (likely, float(np.exp(logs[role][likely])))
            found.append(ContrastFinding(roles=(role,), probability=probability, looks_like=likeness))
    return tuple(found)


def contrast_flags(
    images: Mapping[SeriesRole, FloatArray], brain: NDArray[np.bool_], table: ContrastTable
) -> tuple[Flag, ...]:
    """Flags for series that do not look like their role; none where there is too little brain to judge by."""
    if int(brain.sum()) < LEAST_VOXELS:
        return ()
    return tuple(_flag(finding) for finding in contrast_findings(contrast_numbers(images, brain), table))


def _flag(finding: ContrastFinding) -> Flag:
    if finding.looks_like is None:
        first, second = finding.roles
        text = (
            f"The series taken for {first} and {second} look exchanged (probability {finding.probability:.2f}): check "
            "the roles before trusting any result."
        )
        return Flag(code="roles-exchanged", text=text)
    (role,), (likely, likeness) = finding.roles, finding.looks_like
    text = (
        f"The series taken for {role} does not look like {role} (probability {finding.probability:.3f}) but like "
        f"{likely} ({likeness:.2f}): check its role before trusting any result."
    )
    return Flag(code="wrong-sequence", text=text)
