"""How the axes of a network lie in space: their order, their direction, and a voxel size of its own for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry import resample_array
from pipeline.volume import FloatArray, Grid

#: The first letter of each pair is where our own axes run: right, front, top.
_LETTERS = ("RL", "AP", "SI")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """order: the n-th axis of the network is axis order[n] of a RAS array. flipped: it runs the other way."""

    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def from_letters(cls, letters: str) -> Axes:
        """Of an orientation such as 'SPL': the axes run to the top, to the back and to the left."""
        order = [next(axis for axis, pair in enumerate(_LETTERS) if letter in pair) for letter in letters]
        flipped = [letter == _LETTERS[axis][1] for letter, axis in zip(letters, order, strict=True)]
        return cls(order=(order[0], order[1], order[2]), flipped=(flipped[0], flipped[1], flipped[2]))

    def transposed(self, forward: tuple[int, int, int]) -> Axes:
        """These axes taken in another order: the n-th is the forward[n]-th of before."""
        i, j, k = forward
        return Axes(
            order=(self.order[i], self.order[j], self.order[k]),
            flipped=(self.flipped[i], self.flipped[j], self.flipped[k]),
        )

    def to_network(self, array: FloatArray) -> FloatArray:
        """(n, I, J, K) in RAS order to the network's."""
        turned = np.transpose(array, (0, *(axis + 1 for axis in self.order)))
        return np.ascontiguousarray(np.flip(turned, self._flips))

    def to_ras(self, array: FloatArray) -> FloatArray:
        """(n, I, J, K) in the network's order to RAS."""
        back = tuple(int(place) + 1 for place in np.argsort(self.order))
        return np.ascontiguousarray(np.transpose(np.flip(array, self._flips), (0, *back)))

    @property
    def _flips(self) -> tuple[int, ...]:
        return tuple(axis + 1 for axis, flipped in enumerate(self.flipped) if flipped)


def rescaled(
    array: FloatArray,
    spacing_mm: tuple[float, float, float],
    onto_mm: tuple[float, float, float],
    shape: tuple[int, int, int] | None = None,
) -> FloatArray:
    """(n, I, J, K) at one voxel size brought to another around the same centre, linearly; 0 outside.

    shape: of the answer's last three axes; by default as many voxels as fill the same box.
    """
    sides = array.shape[1:]
    wanted = shape or tuple(
        max(round(side * own / other), 1) for side, own, other in zip(sides, spacing_mm, onto_mm, strict=True)
    )
    grid = _centred((sides[0], sides[1], sides[2]), spacing_mm)
    onto = _centred((wanted[0], wanted[1], wanted[2]), onto_mm)
    result: FloatArray = np.stack([resample_array(channel, grid, onto) for channel in array])
    return result


def _centred(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [-(side - 1) / 2 * step for side, step in zip(shape, spacing_mm, strict=True)]
    return Grid(shape=shape, affine=affine)
