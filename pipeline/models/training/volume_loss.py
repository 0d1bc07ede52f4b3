"""Dice and binary cross-entropy over the regions whose truth is known, at every depth of the decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def region_loss(logits: Tensor, regions: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice over the batch plus cross-entropy.

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
    counted = (weights.sum(dim=0) > 0) & ((scale * regions).sum(dim=(0, 2, 3, 4)) > 0)
    overlap = (1 - dice)[counted].mean() if bool(counted.any()) else logits.sum() * 0.0
    return cross_entropy + overlap


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
