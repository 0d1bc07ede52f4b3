from __future__ import annotations

import pytest
import torch

from pipeline.models.unet3d_network import build_unet3d
from pipeline.models.unet3d_plan import NetworkPlan


def test_channels_double_to_the_limit() -> None:
    assert NetworkPlan(base=32, stages=6).channels == (32, 64, 128, 256, 320, 320)
    assert NetworkPlan(stages=5).divisor == 16


@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 24, 32)])
def test_any_multiple_of_the_divisor_fits(shape: tuple[int, int, int]) -> None:
    network = build_unet3d(NetworkPlan(base=2, stages=3)).eval()
    with torch.inference_mode():
        assert network(torch.zeros((1, 4, *shape))).shape == (1, 3, *shape)


def test_each_depth_has_half_the_resolution() -> None:
    network = build_unet3d(NetworkPlan(base=2, stages=4, convolutions=1))
    sides = [logits.shape[-1] for logits in network.all_logits(torch.randn(1, 4, 16, 16, 16))]
    assert sides == [16, 8, 4]


def test_every_weight_of_the_deep_heads_is_trained() -> None:
    network = build_unet3d(NetworkPlan(base=2, stages=3))
    sum(logits.square().sum() for logits in network.all_logits(torch.randn(1, 4, 16, 16, 16))).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("wrong", [{"width": 3}, {"base": 0}, {"stages": 1}, {"base": "16"}, {"stages": True}])
def test_plan_names_what_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NetworkPlan.from_mapping(wrong)
