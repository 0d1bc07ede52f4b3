"""A U-Net for volumes in the shape nnU-Net gives it: strided convolutions down, transposed convolutions up.

Every convolution is followed by instance normalisation and a leaky ReLU. The network is fully convolutional: any input
whose sides are multiples of `NetworkPlan.divisor` fits, so the size of the window is the caller's choice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.unet3d_plan import NetworkPlan


def _block(channels_in: int, channels_out: int, count: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(count):
        layers += [
            nn.Conv3d(
                channels_in if number == 0 else channels_out,
                channels_out,
                kernel_size=3,
                stride=stride if number == 0 else 1,
                padding=1,
                bias=False,
            ),
            nn.InstanceNorm3d(channels_out, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet3d(nn.Module):
    """(n, in_channels, I, J, K) to logits (n, out_channels, I, J, K)."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.plan = plan
        channels = plan.channels
        self.encoder = nn.ModuleList(
            _block(
                plan.in_channels if stage == 0 else channels[stage - 1],
                channels[stage],
                plan.convolutions,
                stride=1 if stage == 0 else 2,
            )
            for stage in range(plan.stages)
        )
        finer = range(plan.stages - 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(channels[stage + 1], channels[stage], kernel_size=2, stride=2, bias=False)
            for stage in finer
        )
        self.decoder = nn.ModuleList(_block(2 * channels[stage], channels[stage], plan.convolutions) for stage in finer)
        self.heads = nn.ModuleList(nn.Conv3d(channels[stage], plan.out_channels, kernel_size=1) for stage in finer)

    def _decoded(self, image: Tensor) -> list[Tensor]:
        skips: list[Tensor] = []
        features = image
        for block in self.encoder:
            features = block(features)
            skips.append(features)
        decoded: list[Tensor] = []
        for stage in reversed(range(self.plan.stages - 1)):
            features = self.decoder[stage](torch.cat((self.up[stage](features), skips[stage]), dim=1))
            decoded.append(features)
        return decoded[::-1]

    def forward(self, image: Tensor) -> Tensor:
        """Logits at full resolution."""
        logits: Tensor = self.heads[0](self._decoded(image)[0])
        return logits

    def all_logits(self, image: Tensor) -> list[Tensor]:
        """Logits of every decoder stage, finest first, each half the resolution of the one before (training)."""
        return [head(features) for head, features in zip(self.heads, self._decoded(image), strict=True)]


def build_unet3d(plan: NetworkPlan) -> UNet3d:
    """A freshly initialised network of this plan (He initialisation for the leaky ReLU)."""
    network = UNet3d(plan)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
