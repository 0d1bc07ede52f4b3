"""Which lesion of one visit is which of the visit before: by overlap in one space, and by nearness where none overlaps.

Pure: numbered lesions in, links out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pipeline.geometry import RigidTransform, resample_array
from pipeline.grids import world_points
from pipeline.volume import Grid

Numbers = NDArray[np.integer]

#: Two lesions are linked where they share this part of the smaller one. Less is the rim of a neighbour, misplaced by a
#: registration that is a millimetre or two off.
LEAST_OVERLAP = 0.1
#: Small lesions may miss each other entirely: centres nearer than this are one lesion.
NEAR_MM = 10.0


@dataclass(frozen=True, kw_only=True)
class LesionLinks:
    """Lesion numbers from 1. links: (earlier, later, shared voxels), each pair once; 0 voxels: linked by nearness."""

    earlier: tuple[int, ...]
    later: tuple[int, ...]
    links: tuple[tuple[int, int, int], ...]


def match_lesions(
    earlier: Numbers, earlier_grid: Grid, later: Numbers, later_grid: Grid, to_earlier: RigidTransform
) -> LesionLinks:
    """earlier, later: lesion numbers (I, J, K), 0 outside. to_earlier: from later points to earlier ones, RAS+ mm."""
    moved = resample_array(earlier.astype(np.int32), earlier_grid, later_grid, "nearest", 0.0, to_earlier)
    first, second = _present(earlier), _present(later)
    both = (moved > 0) & (later > 0)
    pairs, shared = np.unique(np.stack([moved[both], later[both]]), axis=1, return_counts=True)
    sizes_first = np.bincount(moved.ravel(), minlength=max(first, default=0) + 1)
    sizes_second = np.bincount(later.ravel(), minlength=max(second, default=0) + 1)
    links = [
        (int(a), int(b), int(count))
        for (a, b), count in zip(pairs.T, shared, strict=True)
        if count >= LEAST_OVERLAP * min(sizes_first[a], sizes_second[b])
    ]
    free_first = [a for a in first if a not in {link[0] for link in links}]
    free_second = [b for b in second if b not in {link[1] for link in links}]
    links += _nearest(
        _centres(earlier, earlier_grid, free_first, to_earlier.inverse()), _centres(later, later_grid, free_second)
    )
    return LesionLinks(earlier=first, later=second, links=tuple(sorted(links)))


def _present(numbers: Numbers) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unique(numbers) if n > 0)


def _centres(
    numbers: Numbers, grid: Grid, wanted: list[int], transform: RigidTransform | None = None
) -> dict[int, NDArray[np.float64]]:
    centres = {n: world_points(np.argwhere(numbers == n), grid).mean(axis=0) for n in wanted}
    return centres if transform is None else {n: transform.apply(centre) for n, centre in centres.items()}


def _nearest(
    first: Mapping[int, NDArray[np.float64]], second: Mapping[int, NDArray[np.float64]]
) -> list[tuple[int, int, int]]:
    """One to one, so that the distances together are least; pairs further apart than `NEAR_MM` are none."""
    if not first or not second:
        return []
    distances = cdist(np.array(list(first.values())), np.array(list(second.values())))
    # Far pairs all cost the same, or one of them could push two near ones apart.
    rows, columns = linear_sum_assignment(np.minimum(distances, 10 * NEAR_MM))
    a, b = list(first), list(second)
    return [(a[r], b[c], 0) for r, c in zip(rows, columns, strict=True) if distances[r, c] <= NEAR_MM]
