from __future__ import annotations

import hashlib

import pytest
import torch

from pipeline.models.segmenter_nnunet_network import FoldMean, NnUNet, build_nnunet
from tests.segmenter_samples import nnunet_plans


def _built(class_name: str, **changes: object) -> NnUNet:
    architecture = nnunet_plans(class_name)["configurations"]["3d_fullres"]["architecture"]
    return build_nnunet(architecture["network_class_name"], architecture["arch_kwargs"] | changes, 4, 3)


# Names, shapes and answers as dynamic-network-architectures 0.4.4 gives them for the same arguments and weights.
@pytest.mark.parametrize(
    ("class_name", "names_and_shapes", "voxel", "mean"),
    [
        (
            "PlainConvUNet",
            "b90b9ae8250eacecae1ce873c3bc65092b8da25d7943ccfb309e4dd1e43dc6a1",
            [0.9143143892288208, 0.14789383113384247, -0.7674573659896851],
            0.08831417560577393,
        ),
        (
            "ResidualEncoderUNet",
            "a994af55c84cf3cf671c5254ee65f5a1ca88b3762c64520599719a0e89f84e2c",
            [0.9181231260299683, 0.1465718001127243, -0.7701656818389893],
            0.08824851363897324,
        ),
    ],
)
def test_state_dict_and_answers_are_those_of_nnunets_own_package(
    class_name: str, names_and_shapes: str, voxel: list[float], mean: float
) -> None:
    network = _built(class_name).eval()
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in network.state_dict().items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == names_and_shapes
    with torch.no_grad():
        for number, (_, weight) in enumerate(sorted(dict(network.named_parameters()).items())):
            weight.copy_(torch.sin(torch.arange(weight.numel(), dtype=torch.float32) + number).reshape(weight.shape))
        answer = network(torch.sin(torch.arange(4 * 8**3, dtype=torch.float32)).reshape(1, 4, 8, 8, 8))
    assert answer[0, :, 3, 4, 5].tolist() == pytest.approx(voxel, abs=1e-4)
    assert answer.mean().item() == pytest.approx(mean, abs=1e-4)


def test_a_weight_is_known_by_all_its_names() -> None:
    names = set(_built("PlainConvUNet").state_dict())
    for prefix in ("encoder", "decoder.encoder"):
        for member in ("conv", "all_modules.0"):
            assert f"{prefix}.stages.0.0.convs.0.{member}.weight" in names
    assert {"decoder.transpconvs.0.weight", "decoder.seg_layers.1.bias"} <= names
    assert "encoder.stem.convs.0.conv.weight" in _built("ResidualEncoderUNet").state_dict()


def test_folds_are_averaged() -> None:
    folds = [_built("PlainConvUNet").eval(), _built("PlainConvUNet").eval()]
    image = torch.randn((1, 4, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = (folds[0](image) + folds[1](image)) / 2
        assert torch.allclose(FoldMean(folds)(image), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("class_name", "changes", "message"),
    [
        ("PlainConvUNet", {"conv_op": "torch.nn.modules.conv.Conv2d"}, "not 3D"),
        ("PlainConvUNet", {"norm_op": "torch.nn.GroupNorm"}, "norm_op 'GroupNorm'"),
        ("PlainConvUNet", {"dropout_op": "torch.nn.Dropout3d"}, "dropout_op"),
        ("PlainConvUNet", {"strides": [[1, 1, 1]]}, "1 values of strides, not 3"),
        ("Primus", {}, "the network 'Primus'"),
    ],
)
def test_what_is_not_built_is_named(class_name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _built(class_name, **changes)
