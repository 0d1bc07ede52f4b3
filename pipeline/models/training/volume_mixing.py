"""New tumours from old ones: one brain's blended into another's patch, enhancement taken away, fluid in the core.

All work on z-scored patches, so that donor and host agree in intensity without further matching.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.volume import CHANNEL_ORDER, SeriesRole

_T1 = CHANNEL_ORDER.index(SeriesRole.T1)
_T1CE = CHANNEL_ORDER.index(SeriesRole.T1CE)
#: A patch with fewer voxels of the region is left as it is.
_FEWEST_VOXELS = 30


def carve_into(image: Tensor, regions: Tensor, donor: Tensor, donor_regions: Tensor) -> tuple[Tensor, Tensor]:
    """The host patch with the donor patch's tumour in it, its edge blended over some voxels.

    image, donor: (4, P, P, P). regions, donor_regions: (3, P, P, P). Nothing is put outside either brain.
    """
    if int((donor_regions[0] > 0).sum()) < _FEWEST_VOXELS:
        return image, regions
    both = (image != 0).any(dim=0) & (donor != 0).any(dim=0)
    share = _soft(donor_regions[0] > 0, grow=1) * both
    mixed = image + share * (donor - image)
    return mixed, torch.where(share > 0.5, donor_regions, regions)


def without_enhancement(image: Tensor, regions: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The patch as if its tumour took up no contrast: in ET, T1CE shows what T1 shows; ET becomes plain core.

    The level comes from a line fitted to T1CE over T1 in the brain around.
    """
    enhancing = regions[2] > 0
    around = (image[_T1] != 0) & (image[_T1CE] != 0) & ~enhancing
    if int(enhancing.sum()) < _FEWEST_VOXELS or int(around.sum()) < _FEWEST_VOXELS:
        return image, regions
    before, after = image[_T1][around], image[_T1CE][around]
    spread = before.std().clamp_min(1e-3)
    slope = float((((before - before.mean()) * (after - after.mean())).mean() / spread**2).clamp(0.3, 1.5))
    plain = after.mean() + slope * (image[_T1] - before.mean()) + float(random.uniform(-0.2, 0.2))
    share = _soft(enhancing, grow=2) * (image[_T1CE] != 0)
    changed = image.clone()
    changed[_T1CE] = image[_T1CE] + share * (plain - image[_T1CE])
    return changed, torch.stack((regions[0], regions[1], torch.zeros_like(regions[2])))


def with_fluid_core(image: Tensor, regions: Tensor, random: np.random.Generator) -> Tensor:
    """The patch with fluid in parts of its core that do not enhance: bright in T2, dark in T1 and often in FLAIR.

    Cysts look so, and so do astrocytomas whose bright T2 signal FLAIR suppresses; neither is core for its brightness.
    """
    core = (regions[1] > 0) & (regions[2] == 0)
    if int(core.sum()) < _FEWEST_VOXELS:
        return image
    seeds = torch.from_numpy(random.standard_normal((1, 1, 5, 5, 5)).astype(np.float32))
    field = functional.interpolate(seeds, size=tuple(core.shape), mode="trilinear")[0, 0]
    parts = torch.sigmoid(4 * (field + float(random.uniform(-0.5, 1.5)))) * float(random.uniform(0.5, 1.0))
    low, high = np.array([(-1.8, -0.6), (-1.6, -0.4), (1.6, 3.2), (-1.6, 0.8)]).T
    levels = torch.from_numpy(random.uniform(low, high).astype(np.float32))[:, None, None, None]
    share = parts * _soft(core, grow=0) * (regions[2] == 0)
    return torch.where(image != 0, image + share * (levels - image), image)


def _soft(mask: Tensor, *, grow: int) -> Tensor:
    """(P, P, P) of 0..1: 1 in the mask, falling to 0 over some voxels around it."""
    wide = functional.max_pool3d(mask[None, None].float(), 2 * grow + 1, stride=1, padding=grow)
    smooth = functional.avg_pool3d(wide, 3, stride=1, padding=1, count_include_pad=False)
    return torch.maximum(functional.avg_pool3d(smooth, 3, stride=1, padding=1, count_include_pad=False)[0, 0], mask)
