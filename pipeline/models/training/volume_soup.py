"""Weights between a released segmenter and the end of a run that began with it.

`python -m pipeline.models.training.volume_soup --run RUN --start FILE.pth --share 0.5` writes RUN/mixed.pt, which
`volume_release --checkpoint mixed.pt` takes. A run with other shares of the kinds of case gains on one and may lose on
another: the mean of both networks can keep what each does well, for they lie on one way.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.models.training.volume_progress import BEST_NAME, save_checkpoint

MIXED_NAME = "mixed.pt"


def mixed_weights(
    start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """`share` of each weight from `start`, the rest from `end`.

    Raises:
        ValueError: the two are of different networks.
    """
    if {name: value.shape for name, value in start.items()} != {name: value.shape for name, value in end.items()}:
        raise ValueError("the run and the file it is mixed with are different networks")
    return {name: share * start[name].float() + (1 - share) * value.float() for name, value in end.items()}


def main(words: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="the --out folder of volume_training")
    parser.add_argument("--start", type=Path, required=True, help="the released .pth that the run began with")
    parser.add_argument("--share", type=float, default=0.5, help="of the released file")
    chosen = parser.parse_args(words)
    state = torch.load(chosen.run / BEST_NAME, weights_only=True)
    state["average"] = mixed_weights(torch.load(chosen.start, weights_only=True), state["average"], chosen.share)
    state["command"] += f", then volume_soup --share {chosen.share:g}"
    save_checkpoint(chosen.run / MIXED_NAME, state)


if __name__ == "__main__":
    main()
