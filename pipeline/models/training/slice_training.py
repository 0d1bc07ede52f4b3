"""Train the 2D network: python -m pipeline.models.training.slice_training --data DIR --out DIR --seed 1 --resume.

From scratch: one backbone, a detection head on every slice, a type head where the type is known, and an auxiliary
head for the tumour's outline. Low resolution first, full size last. The same seed, data and stages give the same
batches; a run that was stopped goes on at its last epoch with --resume. With --minutes the rate falls with the time
spent instead of the steps: on a machine whose speed is not known, and not repeatable.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classification_metrics import auc
from pipeline.models.training import slice_augment
from pipeline.models.training.slice_curves import write_curves
from pipeline.models.training.slice_data import TYPE_CLASSES, UNSPECIFIED, SliceSet, balanced_weights, cached_slices
from pipeline.models.training.slice_network import take_over, training_network
from pipeline.models.training.slice_plan import BATCH, FLAT_SHARE, PEAK_RATE, SLICES_AN_EPOCH, STAGES, Plan
from pipeline.models.training.slice_step import build_step
from pipeline.models.training.slice_synthetic import with_synthetic

WEIGHT_DECAY = 0.03
AVERAGE_DECAY = 0.998
MIXED_SHARE = 0.1


class SliceTrainer:
    """Network, running average, optimiser and history of one run; `out` holds state.npz, curves.csv and curves.png."""

    def __init__(self, train: SliceSet, val: SliceSet, out: Path, seed: int, plan: Plan) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        self.train, self.val, self.out, self.seed, self.plan = train, val, out, seed, plan
        self.network = training_network(TYPE_CLASSES)
        self.average = training_network(TYPE_CLASSES)
        self.average.set_weights(self.network.get_weights())
        self.optimiser = keras.optimizers.AdamW(PEAK_RATE, weight_decay=WEIGHT_DECAY, clipnorm=5.0)
        self.optimiser.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimiser.build(self.network.trainable_variables)
        # One graph for every size: tracing a network of this depth takes seconds.
        self._forward = tf.function(
            lambda pictures: self.average(pictures, training=False),
            input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)],
        )
        self.history: list[dict[str, float]] = []
        self._pictures: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._steps: dict[int, Any] = {}

    def run(self) -> None:
        """Train to the end of the plan, writing state and curves after every epoch."""
        while (size := self.plan.size(len(self.history), self.seconds)) is not None:
            epoch, started = len(self.history), time.monotonic()
            losses = self._epoch(epoch, size)
            row = {
                "epoch": epoch + 1,
                "size": size,
                "serves_at": self.plan.serves_at or size,
                **losses,
                **self.validate(self.plan.serves_at or size),
                "seconds": round(time.monotonic() - started, 1),
            }
            self.history.append(row)
            print(json.dumps(row), flush=True)
            self._keep(row)

    @property
    def seconds(self) -> float:
        """Spent on the epochs that are over."""
        return sum(row["seconds"] for row in self.history)

    def validate(self, size: int) -> dict[str, float]:
        """Figures of the averaged network on the validation slices at `size` pixels."""
        detection, kinds = predict(self._forward, resized(self.val.images, size))
        known = self.val.kind != UNSPECIFIED
        lgg = self.val.dataset == "lgg"
        right = kinds[known].argmax(1) == self.val.kind[known]
        recalls = [right[self.val.kind[known] == k].mean() for k in range(len(TYPE_CLASSES))]
        figures = {
            "detection_auc": auc(self.val.tumour, detection),
            "lgg_auc": auc(self.val.tumour[lgg], detection[lgg]),
            "detection_accuracy": float(((detection > 0.5) == self.val.tumour).mean()),
            "type_accuracy": float(right.mean()),
            "type_recall": float(np.mean(recalls)),
        }
        figures["score"] = (figures["detection_auc"] + figures["lgg_auc"] + figures["type_recall"]) / 3
        return {name: round(float(value), 4) for name, value in figures.items()}

    def _epoch(self, epoch: int, size: int) -> dict[str, float]:
        import tensorflow as tf

        rng = np.random.default_rng([self.seed, epoch])
        for layer in self.network.layers:
            # Dropout's own generator is no weight: set anew each epoch, a resumed run draws as an unbroken one.
            if hasattr(layer, "seed_generator"):
                layer.seed_generator.state.assign([self.seed, epoch])
        pictures, outlines = self._at(size)
        step = self._step_at(size)
        chosen = rng.choice(len(self.train), self.plan.slices, p=balanced_weights(self.train))
        steps, before, started = self.plan.steps, self.seconds, time.monotonic()
        total = np.zeros(4)
        for n in range(steps):
            index = chosen[n * BATCH : (n + 1) * BATCH]
            done = epoch * steps + n
            seconds = before + time.monotonic() - started
            strength = self.plan.strength(done, seconds)
            self.optimiser.learning_rate.assign(self.plan.rate(done, seconds))
            lam = np.where(rng.random(BATCH) < MIXED_SHARE, rng.uniform(0.6, 1.0, BATCH), 1.0).astype(np.float32)
            kind = np.eye(len(TYPE_CLASSES) + 1, dtype=np.float32)[self.train.kind[index]][:, : len(TYPE_CLASSES)]
            total += step(
                tf.constant(pictures[index]),
                tf.constant(outlines[index]),
                tf.constant(self.train.tumour[index].astype(np.float32)),
                tf.constant(kind),
                tf.constant(self.train.outlined[index].astype(np.float32)),
                tf.constant(slice_augment.random_affine(rng, BATCH, size, strength)),
                tf.constant(slice_augment.brightness_curves(rng, BATCH, strength)),
                tf.constant(lam),
                tf.constant([self.seed * 1000 + epoch, n * 100], tf.int32),
                tf.constant(strength, tf.float32),
                tf.constant(min(AVERAGE_DECAY, (1 + done) / (10 + done)), tf.float32),
            ).numpy()
        names = ("loss_detection", "loss_type", "loss_outline", "loss_kind_map")
        return dict(zip(names, (total / steps).round(4).tolist(), strict=True))

    def _step_at(self, size: int) -> Any:
        if size not in self._steps:
            self._steps[size] = build_step(self.network, self.average, self.optimiser, size)
        return self._steps[size]

    def _at(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if size not in self._pictures:
            self._pictures = {size: (resized(self.train.images, size), self.train.outlines)}
        return self._pictures[size]

    def _keep(self, row: dict[str, float]) -> None:
        arrays = {f"network/{n}": value for n, value in enumerate(self.network.get_weights())}
        arrays |= {f"average/{n}": value for n, value in enumerate(self.average.get_weights())}
        arrays |= {f"optimiser/{n}": np.asarray(v) for n, v in enumerate(self.optimiser.variables)}
        write_npz(self.out / "state.npz", arrays | {"history": np.array(json.dumps(self.history))})
        final = [one for one in self.history if one["size"] == self.plan.sizes[-1]]
        if row["size"] == self.plan.sizes[-1] and row["score"] >= max(one["score"] for one in final):
            best = {name: value for name, value in arrays.items() if name.startswith("average/")}
            write_npz(self.out / "best.npz", best | {"epoch": np.array(row["epoch"])})
        write_curves(self.history, self.out)

    def start(self, files: Sequence[Path]) -> int:
        """Begin with the weights of Keras files, where layers agree in name and shape; how many layers did."""
        taken = sum(take_over(self.network, file) for file in files)
        self.average.set_weights(self.network.get_weights())
        return taken

    def resume(self) -> None:
        """Take up the state that an earlier run left in `out`."""
        with np.load(self.out / "state.npz") as state:
            self.history = json.loads(str(state["history"]))
            for part, model in (("network", self.network), ("average", self.average)):
                model.set_weights([state[f"{part}/{n}"] for n in range(len(model.weights))])
            for n, variable in enumerate(self.optimiser.variables):
                variable.assign(state[f"optimiser/{n}"])


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Written aside and renamed, so that a stop in the middle leaves the one before."""
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    os.replace(partial, path)


def resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, s, s) uint8 to (n, size, size), with anti-aliasing."""
    import tensorflow as tf

    if images.shape[1] == size:
        return images
    parts = [
        tf.image.resize(images[n : n + 256, ..., None].astype(np.float32), [size, size], antialias=True).numpy()
        for n in range(0, len(images), 256)
    ]
    return np.round(np.concatenate(parts)[..., 0]).clip(0, 255).astype(np.uint8)


def predict(forward: Any, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of tumour (n,) and of each type (n, classes) for pictures (n, size, size), before calibration."""
    import tensorflow as tf

    tumour, kinds = [], []
    for n in range(0, len(pictures), BATCH):
        logits = forward(tf.constant(pictures[n : n + BATCH, ..., None].astype(np.float32) / 255.0))
        tumour.append(tf.sigmoid(logits["detection"]).numpy()[:, 0])
        kinds.append(tf.nn.softmax(logits["type"]).numpy())
    return np.concatenate(tumour).astype(np.float64), np.concatenate(kinds).astype(np.float64)


def main(arguments: list[str] | None = None) -> None:
    """Command line: train, or go on with --resume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mri2d/, lgg_stacks/ and mri3d/")
    parser.add_argument("--out", type=Path, required=True, help="folder for cache, state and curves")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stages", default=STAGES, help=f"pixels x epochs, in order (default {STAGES})")
    parser.add_argument("--slices", type=int, default=SLICES_AN_EPOCH, help="drawn in an epoch")
    parser.add_argument(
        "--serves-at", type=int, default=0, help="pixels at which it will answer, if not those of training"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--extra-cases", type=Path, help="synthetic heads: a folder a case of NIfTI with labels")
    parser.add_argument("--start", type=Path, nargs="+", help="Keras files whose layers and heads begin the network")
    parser.add_argument("--peak-rate", type=float, default=PEAK_RATE)
    parser.add_argument("--flat-share", type=float, default=FLAT_SHARE, help="of the run, before the rate falls")
    parser.add_argument("--minutes", type=float, default=0.0, help="end then; --stages are even parts of it")
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args(arguments)
    import keras
    import tensorflow as tf

    keras.mixed_precision.set_global_policy(chosen.precision)
    tf.config.threading.set_intra_op_parallelism_threads(chosen.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    train, val = (
        cached_slices(chosen.data, split, chosen.out / "cache", chosen.extra_cases) for split in ("train", "val")
    )
    train = with_synthetic(train, chosen.seed)
    plan = Plan.parse(
        chosen.stages,
        slices=chosen.slices,
        peak=chosen.peak_rate,
        flat=chosen.flat_share,
        minutes=chosen.minutes,
        serves_at=chosen.serves_at,
    )
    trainer = SliceTrainer(train, val, chosen.out, chosen.seed, plan)
    if chosen.resume and (chosen.out / "state.npz").exists():
        trainer.resume()
    elif chosen.start is not None:
        print(f"{trainer.start(chosen.start)} layers taken from {len(chosen.start)} files", flush=True)
    trainer.run()


if __name__ == "__main__":
    main()
