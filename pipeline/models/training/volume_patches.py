"""Training patches: cut, turned, scaled and resampled from a case in one interpolation, then changed in intensity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.training.volume_cases import KIND_SHARES, TrainingCase
from pipeline.models.training.volume_intensity import augment_intensity
from pipeline.models.training.volume_mixing import carve_into, with_fluid_core, without_enhancement

#: Voxels kept per region of a case, from which patch centres are drawn.
_CENTRES = 4000
#: Share of the patches (of those that can) that get another brain's tumour, lose their enhancement, or
#: get a core full of fluid.
_CARVED = 0.2
_WITHOUT_ENHANCEMENT = 0.15
_FLUID_CORE = 0.15
#: A donor's chance falls with its tumour's size, this many mL halving it: small tumours are what is short.
_DONOR_ML = 20.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """image: float32 (4, P, P, P). regions: float32 (3, P, P, P). weights: float32 (3,), loss weight per region."""

    image: Tensor
    regions: Tensor
    weights: Tensor


class PatchSampler:
    """Draws patches from cases: seven in ten centred on tumour, a third of these on its enhancing part.

    Every number comes from `generator`, so a seed fixes the whole sequence. shares: how much each kind of case gives,
    of kinds other than `KIND_SHARES` says.
    """

    def __init__(
        self,
        cases: list[TrainingCase],
        patch_size: int,
        generator: np.random.Generator,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self._cases = cases
        self._size = patch_size
        self._random = generator
        counts = {kind: sum(case.kind == kind for case in cases) for kind in KIND_SHARES}
        wanted = KIND_SHARES | dict(shares or {})
        odds = np.array([wanted[case.kind] / counts[case.kind] for case in cases])
        self._probabilities = odds / odds.sum()
        self._centres = [self._centres_of(case) for case in cases]
        odds = np.array([_donor_odds(case) for case in cases])
        self._donors = odds / odds.sum() if odds.any() else odds

    def _centres_of(self, case: TrainingCase) -> list[NDArray[np.int64]]:
        masks = [case.regions[0] > 0, case.regions[1] > 0, case.regions[2] > 0, case.image.any(axis=0)]
        centres = []
        for mask in masks:
            voxels = np.flatnonzero(mask)
            if len(voxels) > _CENTRES:
                voxels = self._random.choice(voxels, _CENTRES)
            centres.append(np.stack(np.unravel_index(voxels, mask.shape), axis=1))
        return centres

    def draw(self, spacing_mm: float) -> Patch:
        """One patch whose voxels are about `spacing_mm` apart."""
        number = int(self._random.choice(len(self._cases), p=self._probabilities))
        case = self._cases[number]
        image, regions = self._cut(case, self._centre(number, spacing_mm), spacing_mm)
        if case.present.all() and case.known.all():
            image, regions = self._mix(image, regions, spacing_mm)
        known = torch.from_numpy(case.known.astype(np.float32)) * case.weight
        image = augment_intensity(image, self._random)
        image, dropped_contrast = self._drop_channels(image, case.present)
        if dropped_contrast:
            known = known * torch.tensor([1.0, 0.0, 0.0])
        return Patch(image=image, regions=regions, weights=known)

    def _mix(self, image: Tensor, regions: Tensor, spacing_mm: float) -> tuple[Tensor, Tensor]:
        if self._donors.any() and self._random.random() < _CARVED:
            number = int(self._random.choice(len(self._cases), p=self._donors))
            image, regions = carve_into(
                image, regions, *self._cut(self._cases[number], self._centre(number, spacing_mm), spacing_mm)
            )
        if self._random.random() < _WITHOUT_ENHANCEMENT:
            image, regions = without_enhancement(image, regions, self._random)
        if self._random.random() < _FLUID_CORE:
            image = with_fluid_core(image, regions, self._random)
        return image, regions

    def _centre(self, number: int, spacing_mm: float) -> NDArray[np.float64]:
        whole, core, enhancing, brain = self._centres[number]
        choice = self._random.random()
        pool = brain
        if choice < 0.25 and len(enhancing):
            pool = enhancing
        elif choice < 0.5 and len(core):
            pool = core
        elif choice < 0.7 and len(whole):
            pool = whole
        centre: NDArray[np.float64] = pool[self._random.integers(len(pool))].astype(np.float64)
        # The patch is moved at random so that tumours do not always lie in its middle.
        case = self._cases[number]
        away_mm = self._random.uniform(-0.3, 0.3, 3) * self._size * 0.5 * spacing_mm
        # In thick slices a voxel is long: the move is one in mm, and ends within the volume.
        last = np.array(case.image.shape[1:]) - 1.0
        return np.asarray(np.clip(centre + away_mm / np.array(case.spacing_mm), 0.0, last))

    def _cut(self, case: TrainingCase, centre: NDArray[np.float64], spacing_mm: float) -> tuple[Tensor, Tensor]:
        random = self._random
        turn = random.uniform(-0.35, 0.35, 3) if random.random() < 0.4 else np.zeros(3)
        scale = random.uniform(0.72, 1.25) if random.random() < 0.5 else 1.0
        stretch = random.uniform(0.93, 1.07, 3) if random.random() < 0.2 else np.ones(3)
        flip = np.where(random.random(3) < 0.5, -1.0, 1.0) if random.random() < 0.8 else np.ones(3)
        to_mm = _rotation(turn) @ np.diag(flip * stretch) * (scale * spacing_mm)
        to_voxel = np.diag(1.0 / np.array(case.spacing_mm)) @ to_mm
        half = (self._size - 1) / 2
        reach = np.abs(to_voxel).sum(axis=1) * half
        low = np.clip(np.floor(centre - reach), 0, None).astype(int)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, case.image.shape[1:])
        high = np.maximum(high, low + 2)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        both = np.concatenate((case.image[(slice(None), *box)], case.regions[(slice(None), *box)].astype(np.float16)))
        # grid_sample wants -1..1 over the crop, axes named from the last to the first.
        extent = np.array(both.shape[1:]) - 1.0
        matrix = np.diag(2.0 / np.maximum(extent, 1.0)) @ to_voxel * half
        offset = 2.0 * (centre - low) / np.maximum(extent, 1.0) - 1.0
        theta = np.concatenate((matrix[::-1, ::-1], offset[::-1, None]), axis=1)[None]
        grid = functional.affine_grid(
            torch.from_numpy(theta.astype(np.float32)), [1, 1, self._size, self._size, self._size], align_corners=True
        )
        source = torch.from_numpy(both.astype(np.float32))[None]
        cut = functional.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]
        return cut[:4].contiguous(), (cut[4:] > 0.5).float()

    def _drop_channels(self, image: Tensor, present: NDArray[np.bool_]) -> tuple[Tensor, bool]:
        if present.sum() < 2 or self._random.random() > 0.1:
            return image, False
        keep = present & (self._random.random(4) > 0.35)
        if not keep.any():
            keep[int(self._random.choice(np.flatnonzero(present)))] = True
        return image * torch.from_numpy(keep.astype(np.float32))[:, None, None, None], bool(present[1] and not keep[1])


def _donor_odds(case: TrainingCase) -> float:
    """Chance, before normalising, that a case gives its tumour to another brain."""
    if case.kind not in ("full", "pseudo"):
        return 0.0
    tumour_ml = float(case.regions[0].sum()) * math.prod(case.spacing_mm) / 1000
    return 1.0 / (_DONOR_ML + tumour_ml) if tumour_ml else 0.0


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        cosine, sine = math.cos(angle), math.sin(angle)
        first, second = [number for number in range(3) if number != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = cosine
        turn[first, second], turn[second, first] = -sine, sine
        matrix = matrix @ turn
    return matrix
