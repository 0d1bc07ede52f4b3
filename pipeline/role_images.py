"""What the images of a study's series say of their roles, before anybody has said which series has which.

Works in the scanner's own space, without registration: a patient lies still enough for blocks of 3 mm. Of a series that
is none of four contrasts only a subtraction is recognised as such; see docs/series-roles.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from pipeline.brain_mask import PLAUSIBLE_ML, brain_mask
from pipeline.contrast_table import TABLE
from pipeline.geometry import resample
from pipeline.grids import bounding_box, box_grid, coarse, crop_grid, field_of_view_mm, share_inside, world_points
from pipeline.input_contrast import LEAST_VOXELS, ContrastTable, contrast_numbers
from pipeline.input_images import SPACING_MM
from pipeline.volume import CHANNEL_ORDER, FloatArray, SeriesRole, Volume

_MASK_MM = 2.0
#: A series that shows less of the brain than this, or is 0 in more of it than the rest, has no opinion.
_SHOWN = 0.9
#: A series is a subtraction where this share of its variance is one series less another.
_SUBTRACTION = 0.85
#: Not fewer voxels of a subtraction above 0 than this are judged by.
_SUBTRACTION_VOXELS = 1500

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """alone: by series, the log-probability of each role. between: by two series and two different roles, the log-odds
    that they have these and not each other's. subtractions: series that are one series less another, with those two."""

    alone: Mapping[str, Mapping[SeriesRole, float]]
    between: Mapping[tuple[Pair, tuple[SeriesRole, SeriesRole]], float]
    subtractions: Mapping[str, Pair]


NOTHING_SEEN = Looks(alone={}, between={}, subtractions={})


def look_at(volumes: Mapping[str, Volume], order: Sequence[str], table: ContrastTable = TABLE) -> Looks:
    """What the series look like. volumes: by any name, in one frame of reference. order: names, where the brain is best
    looked for first. `NOTHING_SEEN` where no brain of a plausible size is found."""
    found = next(_brains(volumes, order), None)
    if found is None:
        return NOTHING_SEEN
    low, high = field_of_view_mm(crop_grid(found.grid, bounding_box(found.voxels) or (slice(None),) * 3))
    grid = box_grid(low - SPACING_MM, high + SPACING_MM, SPACING_MM)
    brain = resample(found, grid).voxels > 0.5
    points = world_points(np.argwhere(brain), grid)
    images = {}
    for name, volume in volumes.items():
        if share_inside(points, volume.grid) < _SHOWN:
            continue
        image = resample(coarse(volume, SPACING_MM), grid).voxels
        if np.mean(image[brain] != 0) >= _SHOWN:
            images[name] = image
    return looks_of(images, brain, table)


def looks_of(images: Mapping[str, FloatArray], brain: NDArray[np.bool_], table: ContrastTable) -> Looks:
    """The same of images (I, J, K) and a brain on one grid of `SPACING_MM`."""
    if int(brain.sum()) < LEAST_VOXELS:
        return NOTHING_SEEN
    numbers = contrast_numbers(images, brain)
    between = {}
    for pair in permutations(images, 2):
        features = numbers.pair(*pair)
        for roles in table.pairs:
            odds = -table.exchanged_log_odds(features, roles)
            between[pair, roles] = odds
            between[pair[::-1], roles[::-1]] = odds
    return Looks(
        alone={name: table.role_log_probabilities(row) for name, row in numbers.series.items()},
        between=between,
        subtractions=subtractions_of({name: image[brain].astype(np.float64) for name, image in images.items()}),
    )


def _brains(volumes: Mapping[str, Volume], order: Sequence[str]) -> Iterator[Volume]:
    """Brains of a plausible size, float32 0..1, each on its own series' blocks."""
    for name in order:
        small = coarse(volumes[name], _MASK_MM)
        mask = brain_mask(small, brisk=True)
        if PLAUSIBLE_ML[0] <= float(mask.sum()) * small.grid.voxel_volume_ml <= PLAUSIBLE_ML[1]:
            yield Volume(voxels=mask.astype(np.float32), grid=small.grid)


def subtractions_of(values: Mapping[str, NDArray[np.float64]]) -> dict[str, Pair]:
    """Which values (n,) are those of one series less another's, as a scanner subtracts: what is below 0 is cut off."""
    found = {}
    scaled = {name: own / max(float(np.median(np.abs(own))), 1e-9) for name, own in values.items()}
    for name, own in values.items():
        positive = own > np.percentile(own, 99) * 0.05
        if positive.sum() < _SUBTRACTION_VOXELS:
            continue
        spread = float(np.var(own[positive]))
        for first, second in permutations([other for other in values if other != name], 2):
            rows = np.stack([scaled[first][positive], scaled[second][positive], np.ones(int(positive.sum()))], axis=1)
            weights, *_ = np.linalg.lstsq(rows, own[positive], rcond=None)
            left = float(np.var(own[positive] - rows @ weights))
            if weights[0] > 0 and -2 < weights[1] / weights[0] < -0.4 and left < (1 - _SUBTRACTION) * spread:
                found[name] = (first, second)
    return found


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The best roles of several series together. margin: by series, the log-odds of its role against the next best."""

    roles: Mapping[str, SeriesRole]
    margin: Mapping[str, float]


def weigh(priors: Mapping[str, Mapping[SeriesRole, float]], looks: Looks) -> Weighed:
    """The roles that headers and images together make most likely.

    priors: by series, the log-weight of every role it may have at all by its header. Series without looks count by
    their prior. At most 8 series, or the combinations are too many.
    """
    names = list(priors)
    table = np.full((len(names), len(CHANNEL_ORDER)), -np.inf)
    for row, name in enumerate(names):
        for column, role in enumerate(CHANNEL_ORDER):
            if role in priors[name]:
                table[row, column] = priors[name][role] + looks.alone.get(name, {}).get(role, 0.0)
    allowed = [np.flatnonzero(np.isfinite(row)) for row in table]
    labels = np.array(np.meshgrid(*allowed, indexing="ij")).reshape(len(names), -1)
    scores = sum((table[row, labels[row]] for row in range(len(names))), np.zeros(labels.shape[1]))
    for one in range(len(names)):
        for other in range(one):
            scores += _between(looks, names[one], names[other])[labels[one], labels[other]]
    best = int(scores.argmax())
    margin = {}
    for row, name in enumerate(names):
        others = scores[labels[row] != labels[row, best]]
        margin[name] = float(scores[best] - others.max()) if others.size else np.inf
    return Weighed(roles={name: CHANNEL_ORDER[labels[row, best]] for row, name in enumerate(names)}, margin=margin)


def _between(looks: Looks, one: str, other: str) -> NDArray[np.float64]:
    """(4, 4) half the log-odds by the roles of two series: the other half is that of the exchange."""
    table = np.zeros((len(CHANNEL_ORDER), len(CHANNEL_ORDER)))
    for a, first in enumerate(CHANNEL_ORDER):
        for b, second in enumerate(CHANNEL_ORDER):
            if first is not second:
                table[a, b] = looks.between.get(((one, other), (first, second)), 0.0) / 2
    return table
