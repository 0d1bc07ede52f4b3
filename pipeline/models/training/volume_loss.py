"""Dice and binary cross-entropy over the regions whose truth is known, at every depth of the decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Where a patch lacks a region, the cross-entropy of this share of its voxels, the worst, counts once more, at this
#: weight: averaged over a whole patch, a false piece of a millilitre costs next to nothing.
_WORST_SHARE = 0.005
_WORST_WEIGHT = 0.3


def region_loss(logits: Tensor, regions: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice over the batch plus cross-entropy, and the worst voxels of regions that the batch lacks.

    logits, regions: (n, 3, I, J, K). weights: (n, 3); a region of weight 0 gives no gradient.
    """
    if not bool((weights > 0).any()):
        return logits.sum() * 0.0
    per_voxel = functional.binary_cross_entropy_with_logits(logits, regions, reduction="none")
    cross_entropy = (per_voxel.mean(dim=(2, 3, 4)) * weights).sum() / weights.sum()
    scale = weights[:, :, None, None, None]
    probability = torch.sigmoid(logits)
    shared = (scale * probability * regions).sum(dim=(0, 2, 3, 4))
    total = (scale * (probability + regions)).sum(dim=(0, 2, 3, 4))
    dice = (2 * shared + 1.0) / (total + 1.0)
    # A batch without a region says nothing of its overlap; cross-entropy alone teaches its absence.
    known = weights.sum(dim=0) > 0
    there = (scale * regions).sum(dim=(0, 2, 3, 4)) > 0
    counted = known & there
    overlap = (1 - dice)[counted].mean() if bool(counted.any()) else logits.sum() * 0.0
    return cross_entropy + overlap + _WORST_WEIGHT * _worst(per_voxel * scale, known & ~there)


def _worst(per_voxel: Tensor, lacking: Tensor) -> Tensor:
    """Mean over the `_WORST_SHARE` of the voxels that cost most, of the regions that are `lacking`.

    per_voxel: (n, 3, I, J, K). lacking: bool (3,).
    """
    if not bool(lacking.any()):
        return per_voxel.sum() * 0.0
    flat = per_voxel[:, lacking].flatten(2)
    return flat.topk(max(1, round(_WORST_SHARE * flat.shape[2])), dim=2).values.mean()


def deep_loss(all_logits: list[Tensor], regions: Tensor, weights: Tensor) -> Tensor:
    """`region_loss` of every depth, each depth weighing half of the finer one.

    all_logits: finest first, each half the resolution of the one before.
    """
    shares = [0.5**depth for depth in range(len(all_logits))]
    total = all_logits[0].sum() * 0.0
    truth = regions
    for depth, (logits, share) in enumerate(zip(all_logits, shares, strict=True)):
        if depth:
            truth = functional.avg_pool3d(truth, 2)
        total = total + share / sum(shares) * region_loss(logits.float(), truth, weights)
    return total
