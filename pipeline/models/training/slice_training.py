"""Train the 2D network: python -m pipeline.models.training.slice_training --data DIR --out DIR --seed 1 --resume.

From scratch: one backbone, a detection head on every slice, a type head where the type is known, and an auxiliary
head for the tumour's outline. Low resolution first, full size last. The same seed, data and stages give the same
batches; a run that was stopped goes on at its last epoch with --resume.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classification_metrics import auc
from pipeline.models.training import slice_augment
from pipeline.models.training.slice_curves import write_curves
from pipeline.models.training.slice_data import TYPE_CLASSES, UNSPECIFIED, SliceSet, balanced_weights, cached_slices
from pipeline.models.training.slice_network import take_over, training_network
from pipeline.models.training.slice_step import build_step
from pipeline.models.training.slice_synthetic import with_synthetic

#: Side in pixels and number of epochs of each stage.
STAGES = "112x6,144x9"
BATCH = 16
SLICES_AN_EPOCH = 4096
PEAK_RATE = 6e-4
WARM_UP_EPOCHS = 1
#: Share of the steps at the full rate, before it falls.
FLAT_SHARE = 0.4
#: Augmentation at the end, as a share of that at the start: the last epochs see pictures nearer to real ones.
LEAST_STRENGTH = 0.4
WEIGHT_DECAY = 0.03
AVERAGE_DECAY = 0.998
MIXED_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """sizes: the side in pixels of each epoch's pictures. slices: how many are drawn in an epoch."""

    sizes: tuple[int, ...]
    slices: int = SLICES_AN_EPOCH

    @classmethod
    def parse(cls, text: str, slices: int = SLICES_AN_EPOCH) -> Plan:
        """From '96x24,224x6': 24 epochs at 96 pixels, then 6 at 224."""
        pairs = [part.split("x") for part in text.split(",")]
        return cls(sizes=tuple(int(size) for size, epochs in pairs for _ in range(int(epochs))), slices=slices)

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise, then flat, then half a cosine down to a hundredth."""
        steps = self.slices // BATCH
        rise = WARM_UP_EPOCHS * steps
        if step < rise:
            return PEAK_RATE * (step + 1) / rise
        return PEAK_RATE * (0.01 + 0.99 * self._share_left(step))

    def strength(self, step: int) -> float:
        """Of augmentation: whole while the rate is, falling with it to `LEAST_STRENGTH`."""
        return LEAST_STRENGTH + (1 - LEAST_STRENGTH) * self._share_left(step)

    def _share_left(self, step: int) -> float:
        steps = self.slices // BATCH
        whole = len(self.sizes) * steps
        fall = max(WARM_UP_EPOCHS * steps, FLAT_SHARE * whole)
        done = min(1.0, max(0.0, (step - fall) / max(1.0, whole - fall)))
        return 0.5 * (1 + math.cos(math.pi * done))


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
        for epoch in range(len(self.history), len(self.plan.sizes)):
            started = time.monotonic()
            size = self.plan.sizes[epoch]
            losses = self._epoch(epoch, size)
            row = {
                "epoch": epoch + 1,
                "size": size,
                **losses,
                **self.validate(size),
                "seconds": round(time.monotonic() - started, 1),
            }
            self.history.append(row)
            print(json.dumps(row), flush=True)
            self._keep(row)

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
        steps = self.plan.slices // BATCH
        total = np.zeros(4)
        for n in range(steps):
            index = chosen[n * BATCH : (n + 1) * BATCH]
            done = epoch * steps + n
            strength = self.plan.strength(done)
            self.optimiser.learning_rate.assign(self.plan.rate(done))
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
        _write_npz(self.out / "state.npz", arrays | {"history": np.array(json.dumps(self.history))})
        final = [one for one in self.history if one["size"] == self.plan.sizes[-1]]
        if row["size"] == self.plan.sizes[-1] and row["score"] >= max(one["score"] for one in final):
            best = {name: value for name, value in arrays.items() if name.startswith("average/")}
            _write_npz(self.out / "best.npz", best | {"epoch": np.array(row["epoch"])})
        write_curves(self.history, self.out)

    def start(self, file: Path) -> int:
        """Begin with the weights of a Keras file, where layers agree in name and shape; how many layers did."""
        taken = take_over(self.network, file)
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


def _write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--extra-cases", type=Path, help="synthetic heads: a folder a case of NIfTI with labels")
    parser.add_argument("--start", type=Path, help="a Keras file whose layers of the same name begin the network")
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
    trainer = SliceTrainer(train, val, chosen.out, chosen.seed, Plan.parse(chosen.stages, chosen.slices))
    if chosen.resume and (chosen.out / "state.npz").exists():
        trainer.resume()
    elif chosen.start is not None:
        print(f"{trainer.start(chosen.start)} layers taken from {chosen.start.name}", flush=True)
    trainer.run()


if __name__ == "__main__":
    main()
