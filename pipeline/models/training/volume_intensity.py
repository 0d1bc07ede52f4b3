"""Changes of intensity in training patches, as scanners, protocols and imperfect brain masks make them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def augment_intensity(image: Tensor, random: np.random.Generator) -> Tensor:
    """(4, P, P, P) changed as scanners, protocols and imperfect brain masks change it; voxels outside stay 0.

    Per channel: contrast, brightness, gamma, blur and coarse slices; for all: noise and remains of skull.
    """
    outside = (image == 0).all(dim=0)
    present = image.flatten(1).any(dim=1)
    if int(present.sum()) >= 3 and random.random() < 0.5:
        # What is dark in every contrast is no brain: lossy compression and loose masks leave a rim of it.
        outside = outside | (image[present] < -1.5).all(dim=0)
    channels = []
    for channel in image:
        if not channel.any():
            channels.append(channel)
            continue
        changed = channel
        if random.random() < 0.5:
            changed = changed * float(random.uniform(0.75, 1.3)) + float(random.uniform(-0.2, 0.2))
        if random.random() < 0.1:
            low, high = changed.min(), changed.max()
            share = (changed - low) / (high - low).clamp_min(1e-6)
            changed = share ** float(random.uniform(0.7, 1.5)) * (high - low) + low
        if random.random() < 0.08:
            changed = functional.avg_pool3d(changed[None, None], 3, stride=1, padding=1)[0, 0]
        if random.random() < 0.08:
            changed = _coarse(changed, int(random.integers(3)))
        if random.random() < 0.15:
            changed = changed + torch.randn(changed.shape, generator=_torch(random)) * float(random.uniform(0.05, 0.3))
        channels.append(torch.where(outside, 0.0, changed))
    result = torch.stack(channels)
    return _with_remains(result, outside, random) if random.random() < 0.1 else result


def _torch(random: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(random.integers(2**62)))


def _coarse(channel: Tensor, axis: int) -> Tensor:
    """The channel as thick slices across one axis show it."""
    sides = list(channel.shape)
    sides[axis] = max(2, sides[axis] // 3)
    thick = functional.interpolate(channel[None, None], size=sides, mode="area")
    return functional.interpolate(thick, size=tuple(channel.shape), mode="trilinear")[0, 0]


def _with_remains(image: Tensor, outside: Tensor, random: np.random.Generator) -> Tensor:
    """Bright or dark lumps outside the brain, as a mask that keeps some skull, scalp or eye leaves them."""
    seeds = torch.randn((1, 1, 6, 6, 6), generator=_torch(random))
    field = functional.interpolate(seeds, size=tuple(image.shape[1:]), mode="trilinear")[0, 0]
    lumps = outside & (field > 0.8)
    levels = torch.from_numpy(random.uniform(-2.5, 3.5, 4).astype(np.float32))[:, None, None, None]
    present = image.flatten(1).any(dim=1)[:, None, None, None]
    return torch.where(lumps & present, levels + 0.4 * field, image)
