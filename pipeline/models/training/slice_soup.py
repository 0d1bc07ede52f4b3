"""Weights between two points of a run: python -m pipeline.models.training.slice_soup --run RUN ...

After a short run from released weights, their mean with its end may be better than either (`--start`); after a long
one, that of its best epoch with its end. Each mix is validated, and one that is better than every epoch of the run
becomes RUN/best.npz, which `slice_release` takes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.training.slice_data import cached_slices
from pipeline.models.training.slice_network import take_over
from pipeline.models.training.slice_plan import Plan
from pipeline.models.training.slice_training import SliceTrainer, write_npz

SHARES = (0.3, 0.6)


def mixed(start: Sequence[NDArray[Any]], end: Sequence[NDArray[Any]], share: float) -> list[NDArray[Any]]:
    """`share` of each weight from `start`, the rest from `end`; what is no float32 is taken from `end`."""
    return [
        np.asarray(share * one + (1 - share) * other, np.float32) if other.dtype == np.float32 else other
        for one, other in zip(start, end, strict=True)
    ]


def last_average(run: Path) -> tuple[list[NDArray[Any]], list[dict[str, float]]]:
    """The running average at the run's last epoch, and its history."""
    with np.load(run / "state.npz") as state:
        count = sum(name.startswith("average/") for name in state.files)
        return [state[f"average/{n}"] for n in range(count)], json.loads(str(state["history"]))


def best_average(run: Path) -> tuple[list[NDArray[Any]], int]:
    """The running average at the run's best epoch, and which that was. Raises ValueError: what is kept is a mix."""
    with np.load(run / "best.npz") as kept:
        if {"share", "share_of_epoch"} & set(kept.files):
            raise ValueError(f"{run / 'best.npz'} is a mix already: take the run's own state and mix anew")
        count = sum(name.startswith("average/") for name in kept.files)
        return [kept[f"average/{n}"] for n in range(count)], int(kept["epoch"])


def beginning(network: Any, files: Sequence[Path]) -> list[NDArray[Any]]:
    """Weights of `network`, those that `files` hold from there (auxiliary targets they do not); it has them then."""
    for file in files:
        take_over(network, file)
    return list(network.get_weights())


def main(arguments: list[str] | None = None) -> None:
    """Command line: validate the mixes, keep the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="the --out folder of slice_training")
    parser.add_argument("--start", type=Path, nargs="+", help="what the run began with; else its best epoch is mixed")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the former, each validated")
    parser.add_argument("--least-type", type=float, default=0.0, help="type accuracy below which none is considered")
    chosen = parser.parse_args(arguments)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    end, history = last_average(chosen.run)
    row = history[-1]
    val = cached_slices(chosen.data, "val", chosen.run / "cache")
    trainer = SliceTrainer(val, val, chosen.run, 0, Plan(sizes=(int(row["size"]),)))
    trainer.average.set_weights(end)
    if chosen.start:
        start, epoch, told = beginning(trainer.average, chosen.start), len(history), "share"
    else:
        start, epoch = best_average(chosen.run)
        told = "share_of_epoch"
    best = max([-1.0, *(row["score"] for row in history if row["type_accuracy"] >= chosen.least_type)])
    for share in chosen.shares:
        weights = mixed(start, end, share)
        trainer.average.set_weights(weights)
        figures = trainer.validate(int(row["serves_at"]))
        print(json.dumps({told: share, **figures}), flush=True)
        if figures["type_accuracy"] >= chosen.least_type and figures["score"] > best:
            best = figures["score"]
            arrays = {f"average/{n}": value for n, value in enumerate(weights)}
            write_npz(chosen.run / "best.npz", arrays | {"epoch": np.array(epoch), told: np.array(share)})


if __name__ == "__main__":
    main()
