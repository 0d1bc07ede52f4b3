"""A node whose models know the phantom's truth: everything else in it is the real thing.

python -m tests.acceptance.truth_node --config config.yaml --seed 3 [--die-at mid-analysis|after-encoding --marker FILE]

With --die-at the process kills itself (SIGKILL) at that point once; the marker file remembers that it did.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dicom_node.config import load_config
from dicom_node.logs import configure_logging
from dicom_node.node import build_receiver, build_worker
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.runs import RunSteps
from dicom_node.store import open_store
from pipeline import registration
from pipeline.models.catalogue import ModelStatus
from pipeline.models.protocols import Models, Progress, no_progress
from pipeline.report import REGION_LABELS, ModelIdentity, Region
from pipeline.volume import FloatArray, Grid, SeriesRole


def identity(task: str) -> ModelIdentity:
    return ModelIdentity(name=f"truth-{task}", version="1", task=task, weights_sha256=f"{len(task):064x}")


@dataclass(frozen=True, kw_only=True)
class TruthSegmenter:
    """Gives the true regions on whatever grid it is asked, as the share of each voxel that is inside."""

    study: PhantomStudy
    spacing_mm: float = 1.0
    before: Callable[[], None] = lambda: None

    @property
    def identity(self) -> ModelIdentity:
        return identity("segmentation")

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        self.before()
        shares = np.zeros((len(Region), *grid.shape), np.float32)
        for offset in itertools.product((-0.25, 0.25), repeat=3):
            shift = np.eye(4)
            shift[:3, 3] = offset
            truth = self.study.truth_on(Grid(shape=grid.shape, affine=grid.affine @ shift))
            shares += np.stack([np.isin(truth, REGION_LABELS[region]) for region in Region]) / 8.0
        progress(1.0)
        return shares


@dataclass(frozen=True, kw_only=True)
class FixedClassifier:
    """The same probabilities for every slice."""

    task: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    roles: tuple[SeriesRole, ...] = (SeriesRole.T1CE, SeriesRole.FLAIR, SeriesRole.T1, SeriesRole.T2)
    input_size: int = 224
    threshold: float = 0.5

    @property
    def identity(self) -> ModelIdentity:
        return identity(self.task)

    def predict(self, slices: FloatArray) -> FloatArray:
        return np.tile(np.array(self.probabilities, np.float32), (len(slices), 1))


def truth_models(study: PhantomStudy, before: Callable[[], None] = lambda: None) -> Models:
    """Models for a study with a tumour."""
    return Models(
        detector=FixedClassifier(task="detection", classes=("notumor", "tumor"), probabilities=(0.1, 0.9)),
        type_classifier=FixedClassifier(
            task="type",
            classes=("glioma", "meningioma", "notumor", "pituitary"),
            probabilities=(0.7, 0.1, 0.1, 0.1),
        ),
        segmenter=TruthSegmenter(study=study, before=before),
        unavailable={},
    )


def truth_loader(
    study: PhantomStudy, before: Callable[[], None] = lambda: None
) -> Callable[[Path], tuple[Models, tuple[ModelStatus, ...]]]:
    """A model loader for `build_worker`."""
    return lambda folder: (truth_models(study, before), ())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--die-at", choices=["mid-analysis", "after-encoding"])
    parser.add_argument("--marker", type=Path)
    parser.add_argument("--still", action="store_true", help="the head did not move: a few registration steps will do")
    arguments = parser.parse_args()
    if arguments.still:
        # Finding the motion is most of an analysis's time, and no part of what a fault campaign asks.
        registration._COARSE = replace(registration._COARSE, sampling=0.05, iterations=2)
        registration._FINE = replace(registration._FINE, sampling=0.02, iterations=1)

    def die(point: str) -> None:
        if arguments.die_at == point and not arguments.marker.exists():
            arguments.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    publish = RunSteps.publish

    def publish_or_die(self: RunSteps, run_id: str) -> None:
        die("after-encoding")
        publish(self, run_id)

    RunSteps.publish = publish_or_die  # type: ignore[method-assign]
    config = load_config(arguments.config)
    configure_logging("info", "truth-node")
    store = open_store(config)
    study = make_study(arguments.seed, "siemens", size="small", clutter=False)
    receiver = build_receiver(config, store)
    worker = build_worker(config, store, loader=truth_loader(study, lambda: die("mid-analysis")))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    receiver.start()
    worker.start()
    stopping.wait()
    receiver.stop()
    worker.stop()
    os._exit(0)  # as `tumor-node work` ends


if __name__ == "__main__":
    main()
