"""Dice of a network on whole validation cases, on each case's own grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.training.volume_cases import TrainingCase
from pipeline.models.unet3d_network import UNet3d
from pipeline.models.unet3d_window import predict_windows
from pipeline.report import Region

#: False enhancement up to this volume is forgiven in a case without any (voxels of 1 mm: 0.2 mL).
_NEGLIGIBLE_VOXELS = 200


def fast_bf16() -> bool:
    """Whether this processor computes in bfloat16; one that only imitates it takes many times as long as in float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def predict_regions(network: UNet3d, case: TrainingCase, spacing_mm: float) -> Tensor:
    """bool (3, I, J, K) on the case's grid: the network run at `spacing_mm`, probabilities brought back."""
    shape = [int(side) for side in case.image.shape[1:]]
    coarse = [max(1, round(side * step / spacing_mm)) for side, step in zip(shape, case.spacing_mm, strict=True)]
    image = torch.from_numpy(case.image.astype("float32"))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bf16()):
        small = functional.interpolate(image[None], size=coarse, mode="trilinear", align_corners=False)[0]
        logits = predict_windows(network, small, window=(128, 128, 128), divisor=network.plan.divisor).float()
        full = functional.interpolate(logits[None], size=shape, mode="trilinear", align_corners=False)[0]
    return full > 0


def dice_of_case(network: UNet3d, case: TrainingCase, spacing_mm: float) -> dict[str, float]:
    """Dice by region name. A region absent from the truth scores 1 if (nearly) absent from the answer, else 0."""
    predicted = predict_regions(network, case, spacing_mm)
    truth = torch.from_numpy(case.regions) > 0
    scores: dict[str, float] = {}
    for number, region in enumerate(Region):
        answer, real = predicted[number], truth[number]
        if not real.any():
            scores[region.value] = float(int(answer.sum()) <= _NEGLIGIBLE_VOXELS)
        else:
            scores[region.value] = float(2 * (answer & real).sum() / (answer.sum() + real.sum()))
    return scores
