"""Trains the segmenter: `python -m pipeline.models.training.volume_training --data DIR --out DIR --minutes 90`.

Starts coarse (2 mm) and ends at the spacing it ships with, because at 2 mm a patch shows most of a head and a step
costs a third. The learning rate falls with the share of the minutes (or, repeatable to the bit, of the steps) spent.
A run that goes on from a released file gives that file as `--start-from` and, mostly, `--shares` of its own.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.models.training.volume_cache import cached_cases
from pipeline.models.training.volume_cases import KIND_SHARES, KIND_TEXTS, TrainingCase, load_training_cases
from pipeline.models.training.volume_extra import load_extra_cases
from pipeline.models.training.volume_loss import deep_loss
from pipeline.models.training.volume_mirror import mirrored_cases
from pipeline.models.training.volume_patches import PatchSampler
from pipeline.models.training.volume_progress import (
    BEST_NAME,
    CHECKPOINT_NAME,
    append_row,
    draw_curves,
    save_checkpoint,
)
from pipeline.models.training.volume_stacks import load_stack_cases
from pipeline.models.training.volume_validation import dice_of_case, fast_bf16
from pipeline.models.unet3d_network import UNet3d, build_unet3d
from pipeline.models.unet3d_plan import NetworkPlan
from pipeline.report import Region

PREPARED_NAME = "prepared.npz"


class Trainer:
    """One run: network, its running average, optimiser, and how far the run has come."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(arguments.seed)
        self.arguments = arguments
        self.out = Path(arguments.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.plan = NetworkPlan(base=arguments.base, stages=arguments.stages)
        self.network = build_unet3d(self.plan)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=arguments.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
        )
        self.bf16 = not arguments.float32 and fast_bf16()
        self.step = 0
        self.seconds = 0.0
        self.best = -1.0
        if arguments.resume and (self.out / CHECKPOINT_NAME).exists():
            self._restore(torch.load(self.out / CHECKPOINT_NAME, weights_only=True))
        elif arguments.start_from:
            self._begin_with(torch.load(arguments.start_from, weights_only=True))
        self.random = np.random.default_rng((arguments.seed, self.step))
        training, self.validation = load_training_cases(Path(arguments.data))
        extra = cached_cases(self.out / PREPARED_NAME, lambda: self._prepared(training))
        self.cases = {
            text: count
            for kind, text in KIND_TEXTS.items()
            if (count := sum(case.kind == kind for case in training + extra))
        }
        self.sampler = PatchSampler(training + extra, arguments.patch, self.random, arguments.shares)
        counts = f"{len(training)} cases, {len(extra)} extra, {len(self.validation)} for validation"
        print(f"{counts}, from step {self.step}", flush=True)

    def _prepared(self, training: list[TrainingCase]) -> list[TrainingCase]:
        """The cases that take long to prepare: phantoms, stacks and mirrored brains."""
        folder = self.arguments.extra_cases
        phantoms = load_extra_cases(Path(folder)) if folder else []
        return phantoms + load_stack_cases(Path(self.arguments.data)) + mirrored_cases(training, self.arguments.seed)

    @property
    def share(self) -> float:
        """How much of the run is done, 0..1."""
        if self.arguments.steps:
            return float(min(1.0, self.step / self.arguments.steps))
        return float(min(1.0, self.seconds / (60 * self.arguments.minutes)))

    @property
    def spacing_mm(self) -> float:
        """Spacing of the next patches: 2 mm for the first part of the run."""
        coarse = self.share < self.arguments.coarse_share
        return max(2.0, self.arguments.spacing_mm) if coarse else float(self.arguments.spacing_mm)

    def train_step(self) -> float:
        """One optimiser step; its loss."""
        patches = [self.sampler.draw(self.spacing_mm) for _ in range(self.arguments.batch)]
        image, regions, weights = (
            torch.stack([getattr(patch, name) for patch in patches]) for name in ("image", "regions", "weights")
        )
        rate = self.arguments.learning_rate * min(1.0, (self.step + 1) / 50) * self._decay()
        for group in self.optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            all_logits = self.network.all_logits(image)
        loss = deep_loss(all_logits, regions, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12.0)
        self.optimizer.step()
        self.step += 1
        # A long memory would hold a short run back: a tenth of the steps so far, at most a hundred or so.
        keep = min(self.arguments.average, 1 - 10 / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        return float(loss.detach())

    def _decay(self) -> float:
        """What is left of the learning rate."""
        if self.arguments.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * self.share))
        return float((1 - self.share) ** 0.9)

    def validate(self, loss: float, seconds: float) -> None:
        """Scores the averaged network, writes the log and the checkpoints."""
        cases: list[TrainingCase] = self.validation
        scores = [dice_of_case(self.average.eval(), case, self.arguments.spacing_mm) for case in cases]
        mean = {region.value: float(np.mean([score[region.value] for score in scores])) for region in Region}
        overall = float(np.mean(list(mean.values())))
        append_row(
            self.out,
            {
                "step": self.step,
                "minutes": seconds / 60,
                "spacing_mm": self.spacing_mm,
                "loss": loss,
                **{f"dice_{name}": value for name, value in mean.items()},
            },
        )
        draw_curves(self.out)
        by_case = " ".join(
            f"{case.name[-5:]} " + "/".join(f"{v:.2f}" for v in score.values())
            for case, score in zip(cases, scores, strict=True)
        )
        print(f"step {self.step} {seconds / 60:.1f} min loss {loss:.3f} mean {overall:.3f} | {by_case}", flush=True)
        if overall > self.best:
            self.best = overall
            save_checkpoint(self.out / BEST_NAME, self._state())
        save_checkpoint(self.out / CHECKPOINT_NAME, self._state())

    def run(self) -> None:
        """Trains until the minutes (or steps) are spent."""
        started, before = time.monotonic(), self.seconds
        last, losses = started, []
        while self.share < 1.0:
            losses.append(self.train_step())
            self.seconds = before + time.monotonic() - started
            if self.step % 50 == 0:
                print(f"step {self.step} {self.seconds / 60:.1f} min loss {np.mean(losses[-50:]):.3f}", flush=True)
                save_checkpoint(self.out / CHECKPOINT_NAME, self._state())
            if time.monotonic() - last > 60 * self.arguments.validate_minutes or self.share >= 1.0:
                self.validate(float(np.mean(losses)), self.seconds)
                last, losses = time.monotonic(), []

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plan": asdict(self.plan),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "cases": self.cases,
            "command": command_line(self.arguments),
        }

    def _begin_with(self, state: dict[str, Any]) -> None:
        """A checkpoint's weights and count of steps, or a released file's weights; all else is this run's own."""
        if "network" in state:
            self._restore(state | {"seconds": 0.0, "best": -1.0})
            return
        for network in (self.network, self.average):
            network.load_state_dict({name: value.float() for name, value in state.items()})

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.best = int(state["step"]), float(state["seconds"]), float(state["best"])


def command_line(arguments: argparse.Namespace) -> str:
    """The command that repeats the run, with the folders by their names alone."""
    words = ["python -m pipeline.models.training.volume_training --data DIR --out DIR"]
    words += ["--extra-cases DIR"] if arguments.extra_cases else []
    words += [f"--start-from {Path(arguments.start_from).name}"] if arguments.start_from else []
    words += [f"--steps {arguments.steps}" if arguments.steps else f"--minutes {arguments.minutes:g}"]
    for name in ("seed", "base", "stages", "patch", "batch", "spacing_mm", "coarse_share", "learning_rate"):
        words.append(f"--{name.replace('_', '-')} {getattr(arguments, name):g}")
    words += [f"--schedule {arguments.schedule}"] if arguments.schedule != "power" else []
    if arguments.shares:
        words.append("--shares " + ",".join(f"{kind}={share:g}" for kind, share in arguments.shares.items()))
    return " ".join(words)


def parse_shares(text: str) -> dict[str, float]:
    """'stack=0.3,mirrored=0.1' as shares by kind.

    Raises:
        argparse.ArgumentTypeError: an unknown kind, or no number from 0 to 1.
    """
    shares = {}
    for part in text.split(","):
        kind, _, value = part.partition("=")
        try:
            shares[kind] = float(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{part}' is not KIND=SHARE") from None
        if kind not in KIND_SHARES or not 0 <= shares[kind] <= 1:
            raise argparse.ArgumentTypeError(f"'{part}': the kinds are {', '.join(KIND_SHARES)}, shares are 0 to 1")
    return shares


def averaged_network(checkpoint: Path) -> UNet3d:
    """The averaged network of a checkpoint, ready for inference."""
    state = torch.load(checkpoint, weights_only=True)
    network = build_unet3d(NetworkPlan.from_mapping(state["plan"]))
    network.load_state_dict(state["average"])
    return network.eval()


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with mri3d/{full,partial,flair_only}")
    parser.add_argument("--out", required=True, help="folder for checkpoints, curves.csv and curves.png")
    parser.add_argument("--extra-cases", help="folder of labelled NIfTI cases named as BraTS names them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--steps", type=int, default=0, help="count steps instead of minutes (repeatable)")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start-from", help="checkpoint, or released .pth, whose weights the run begins with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--stages", type=int, default=5)
    parser.add_argument("--patch", type=int, default=64, help="side of a patch in voxels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--spacing-mm", type=float, default=1.5, help="spacing that the network ships with")
    parser.add_argument("--coarse-share", type=float, default=0.4, help="share of the run at 2 mm")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--schedule", choices=("power", "cosine"), default="power", help="how the learning rate falls")
    parser.add_argument("--shares", type=parse_shares, help="KIND=SHARE,...: share of the patches of kinds of case")
    parser.add_argument("--average", type=float, default=0.99, help="share of the averaged weights kept each step")
    parser.add_argument("--validate-minutes", type=float, default=6.0)
    parser.add_argument("--float32", action="store_true", help="no bfloat16 even where the processor has it")
    return parser.parse_args(words)


if __name__ == "__main__":
    settings = parse_arguments()
    torch.set_num_threads(settings.threads)
    Trainer(settings).run()
