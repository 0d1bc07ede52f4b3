"""The networks that nnU-Net v2 trains, built from the `architecture` of a plans.json, 3D only.

The modules carry the names that nnU-Net's own network package gives them, so that a checkpoint's state dict fits
exactly. That includes its doubles: each convolution is known as `conv` and again as a member of `all_modules`, and the
decoder holds the encoder a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_CLASSES = ("PlainConvUNet", "ResidualEncoderUNet")
_NORMS = {"InstanceNorm3d": nn.InstanceNorm3d, "BatchNorm3d": nn.BatchNorm3d}
_ACTIVATIONS = {"LeakyReLU": nn.LeakyReLU, "ReLU": nn.ReLU}
Size = tuple[int, ...]


class _Layers:
    """What all convolutions of one network have in common."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.bias = bool(arguments.get("conv_bias", False))
        self.norm = _named(_NORMS, arguments.get("norm_op"), "norm_op")
        self.norm_arguments = dict(arguments.get("norm_op_kwargs") or {})
        self.activation = _named(_ACTIVATIONS, arguments.get("nonlin"), "nonlin")
        self.activation_arguments = dict(arguments.get("nonlin_kwargs") or {})
        self.activation_first = bool(arguments.get("nonlin_first", False))
        if arguments.get("dropout_op") is not None:
            raise ValueError("its plans use dropout_op, which this node does not build")


class _Convolution(nn.Module):
    """Convolution, normalisation, activation."""

    def __init__(
        self, layers: _Layers, wide: int, out: int, kernel: Size, stride: Size, *, bias: bool, activated: bool = True
    ) -> None:
        super().__init__()
        padding = [(side - 1) // 2 for side in kernel]
        self.conv = nn.Conv3d(wide, out, _triple(kernel), _triple(stride), _triple(padding), bias=bias)
        members: list[nn.Module] = [self.conv]
        if layers.norm is not None:
            self.norm = layers.norm(out, **layers.norm_arguments)
            members.append(self.norm)
        if activated and layers.activation is not None:
            self.nonlin = layers.activation(**layers.activation_arguments)
            members.append(self.nonlin)
            if layers.activation_first and layers.norm is not None:
                members[-1], members[-2] = members[-2], members[-1]
        self.all_modules = nn.Sequential(*members)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.all_modules(image)
        return answer


class _Stack(nn.Module):
    """Convolutions one after another, the first of them strided."""

    def __init__(self, layers: _Layers, count: int, wide: int, out: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                _Convolution(
                    layers, wide if n == 0 else out, out, kernel, stride if n == 0 else (1, 1, 1), bias=layers.bias
                )
                for n in range(count)
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.convs(image)
        return answer


class _Residual(nn.Module):
    """Two convolutions beside a way past them, which pools and projects where the shape changes (ResNet-D)."""

    def __init__(self, layers: _Layers, wide: int, out: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.conv1 = _Convolution(layers, wide, out, kernel, stride, bias=layers.bias)
        self.conv2 = _Convolution(layers, out, out, kernel, (1, 1, 1), bias=layers.bias, activated=False)
        self.nonlin2 = layers.activation(**layers.activation_arguments) if layers.activation else nn.Identity()
        past: list[nn.Module] = []
        if any(step != 1 for step in stride):
            past.append(nn.AvgPool3d(_triple(stride), _triple(stride)))
        if wide != out:
            past.append(_Convolution(layers, wide, out, (1, 1, 1), (1, 1, 1), bias=False, activated=False))
        self.skip = nn.Sequential(*past) if past else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.nonlin2(self.conv2(self.conv1(image)) + self.skip(image))
        return answer


class _ResidualStage(nn.Module):
    def __init__(self, layers: _Layers, count: int, wide: int, out: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                _Residual(layers, wide if n == 0 else out, out, kernel, stride if n == 0 else (1, 1, 1))
                for n in range(count)
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.blocks(image)
        return answer


class _Encoder(nn.Module):
    def __init__(self, stages: Sequence[nn.Module], stem: nn.Module | None) -> None:
        super().__init__()
        if stem is not None:
            self.stem = stem
        self.stages = nn.Sequential(*stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.stem(image) if hasattr(self, "stem") else image
        skips = []
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        return skips


class _Decoder(nn.Module):
    """From the deepest stage up. Every stage has a head, for training; the last one answers."""

    def __init__(
        self, encoder: _Encoder, stages: Sequence[nn.Module], ups: Sequence[nn.Module], heads: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(ups)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips: list[Tensor]) -> Tensor:
        features = skips[-1]
        for number, (stage, up) in enumerate(zip(self.stages, self.transpconvs, strict=True)):
            features = stage(torch.cat((up(features), skips[-(number + 2)]), 1))
        logits: Tensor = self.seg_layers[-1](features)
        return logits


class NnUNet(nn.Module):
    """(n, channels, i, j, k) to logits (n, heads, i, j, k); the sides are multiples of all strides' product."""

    def __init__(self, encoder: _Encoder, decoder: _Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Logits at full resolution."""
        logits: Tensor = self.decoder(self.encoder(image))
        return logits


class FoldMean(nn.Module):
    """The mean of several networks' logits, as nnU-Net averages its folds."""

    def __init__(self, folds: Sequence[nn.Module]) -> None:
        super().__init__()
        self.folds = nn.ModuleList(folds)

    def forward(self, image: Tensor) -> Tensor:
        """Mean logits."""
        total: Tensor = self.folds[0](image)
        for fold in list(self.folds)[1:]:
            total = total + fold(image)
        return total / len(self.folds)


def build_nnunet(class_name: str, arguments: Mapping[str, Any], channels: int, heads: int) -> NnUNet:
    """The network of `architecture.network_class_name` and `architecture.arch_kwargs`, with fresh weights.

    Raises:
        ValueError: a class, layer or shape that this node does not build, or arguments that do not go together.
    """
    kind = class_name.rpartition(".")[2]
    if kind not in _CLASSES:
        raise ValueError(f"its plans name the network '{kind}'; this node builds {' and '.join(_CLASSES)}")
    if str(arguments.get("conv_op", "Conv3d")).rpartition(".")[2] != "Conv3d":
        raise ValueError("its plans name a network that is not 3D")
    count = int(arguments["n_stages"])
    widths = [int(width) for width in _each(arguments["features_per_stage"], count, "features_per_stage")]
    kernels = [_sides(size) for size in _each(arguments["kernel_sizes"], count, "kernel_sizes")]
    strides = [_sides(size) for size in _each(arguments["strides"], count, "strides")]
    residual = kind == "ResidualEncoderUNet"
    depth_key = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    depths = _each(arguments[depth_key], count, depth_key)
    up_depths = _each(arguments["n_conv_per_stage_decoder"], count - 1, "n_conv_per_stage_decoder")
    layers = _Layers(arguments)
    stem, wide = None, channels
    if residual:
        wide = int(arguments.get("stem_channels") or widths[0])
        stem = _Stack(layers, 1, channels, wide, kernels[0], (1, 1, 1))
    stages: list[nn.Module] = []
    for depth, width, kernel, stride in zip(depths, widths, kernels, strides, strict=True):
        if residual:
            stages.append(_ResidualStage(layers, int(depth), wide, width, kernel, stride))
        else:
            stages.append(nn.Sequential(_Stack(layers, int(depth), wide, width, kernel, stride)))
        wide = width
    encoder = _Encoder(stages, stem)
    ups, merges, ends = [], [], []
    for number, depth in enumerate(up_depths, start=1):
        below, beside, stride = widths[-number], widths[-(number + 1)], _triple(strides[-number])
        ups.append(nn.ConvTranspose3d(below, beside, stride, stride, bias=layers.bias))
        merges.append(_Stack(layers, int(depth), 2 * beside, beside, kernels[-(number + 1)], (1, 1, 1)))
        ends.append(nn.Conv3d(beside, heads, 1))
    return NnUNet(encoder, _Decoder(encoder, merges, ups, ends))


def _each(value: Any, count: int, name: str) -> list[Any]:
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(values) != count:
        raise ValueError(f"its plans give {len(values)} values of {name}, not {count}")
    return values


def _sides(value: Any) -> Size:
    sides = tuple(int(side) for side in value) if isinstance(value, list | tuple) else (int(value),) * 3
    if len(sides) != 3:
        raise ValueError("its plans name a network that is not 3D")
    return sides


def _triple(sides: Sequence[int]) -> tuple[int, int, int]:
    return sides[0], sides[1], sides[2]


def _named(known: Mapping[str, Any], name: Any, key: str) -> Any:
    if name is None:
        return None
    last = str(name).rpartition(".")[2]
    if last not in known:
        raise ValueError(f"its plans use {key} '{last}', which this node does not build")
    return known[last]
