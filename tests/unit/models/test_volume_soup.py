"""A mix of a released segmenter and the end of a run that began with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.models.training.volume_release import export_weights
from pipeline.models.training.volume_soup import main
from pipeline.models.unet3d_network import NetworkPlan, UNet3d, build_unet3d


def network(seed: int, base: int = 4) -> UNet3d:
    torch.manual_seed(seed)
    return build_unet3d(NetworkPlan(base=base, stages=2, convolutions=1))


def test_a_mix_lies_between_the_released_file_and_the_run(tmp_path: Path) -> None:
    released, run = network(1), network(2)
    export_weights(released, tmp_path / "released.pth")
    torch.save({"average": run.state_dict(), "command": "training", "step": 7}, tmp_path / "best.pt")
    words = ["--run", str(tmp_path), "--start", str(tmp_path / "released.pth"), "--share", "0.25"]
    main(words)
    state = torch.load(tmp_path / "mixed.pt", weights_only=True)
    assert (state["command"], state["step"]) == ("training, then volume_soup --share 0.25", 7)
    for name, value in state["average"].items():
        expected = 0.25 * released.state_dict()[name] + 0.75 * run.state_dict()[name]
        torch.testing.assert_close(value, expected, atol=1e-3, rtol=0)

    export_weights(network(1, base=8), tmp_path / "released.pth")
    with pytest.raises(ValueError, match="different networks"):
        main(words)
