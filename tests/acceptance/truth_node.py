"""A node whose models know the phantom's truth: everything else in it is the real thing.

python -m tests.acceptance.truth_node --config config.yaml --seed 3 [--shadow | --quick] [--die-at POINT --marker FILE]

With --die-at the process kills itself (SIGKILL) at that point once; the marker file remembers that it did. With
--shadow its models read T1CE alone, and two shadow models are wrong in ways that would be seen in a result.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from dicom_node.config import load_config
from dicom_node.logs import configure_logging
from dicom_node.node import build_worker
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.receiver import build_receiver
from dicom_node.runs import RunSteps
from dicom_node.store import open_store
from pipeline import registration
from pipeline.models.catalogue import ModelStatus
from pipeline.models.protocols import Installed, ModelMode, Models, Progress, no_progress
from pipeline.report import REGION_LABELS, ModelIdentity, Region
from pipeline.volume import FloatArray, Grid, SeriesRole
from storage.lifecycle import ScanState


def identity(task: str, name: str = "truth") -> ModelIdentity:
    return ModelIdentity(name=f"{name}-{task}", version="1", task=task, weights_sha256=f"{len(name + task):064x}")


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

    name: str = "truth"
    task: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    roles: tuple[SeriesRole, ...] = (SeriesRole.T1CE, SeriesRole.FLAIR, SeriesRole.T1, SeriesRole.T2)
    input_size: int = 224
    threshold: float = 0.5

    @property
    def identity(self) -> ModelIdentity:
        return identity(self.task, self.name)

    def predict(self, slices: FloatArray) -> FloatArray:
        return np.tile(np.array(self.probabilities, np.float32), (len(slices), 1))


@dataclass(frozen=True, kw_only=True)
class GrownSegmenter(TruthSegmenter):
    """Takes the whole tumour for enhancing."""

    @property
    def identity(self) -> ModelIdentity:
        return identity("segmentation", "grown")

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        whole = super().segment(image, grid, progress)[:1]
        return np.repeat(whole, len(Region), axis=0)


def truth_models(study: PhantomStudy, before: Callable[[], None] = lambda: None) -> Models:
    """Models for a study with a tumour."""
    return Models.of(
        detector=FixedClassifier(task="detection", classes=("notumor", "tumor"), probabilities=(0.1, 0.9)),
        type_classifier=FixedClassifier(
            task="type",
            classes=("glioma", "meningioma", "notumor", "pituitary"),
            probabilities=(0.7, 0.1, 0.1, 0.1),
        ),
        segmenter=TruthSegmenter(study=study, before=before),
    )


def quick_models(study: PhantomStudy, *, shadow: bool, before: Callable[[], None] = lambda: None) -> Models:
    """Models that read T1CE alone, and coarsely. shadow: with two shadow models that would be seen in a result.

    before: called when the shadow segmenter is asked, or without shadow models the segmenter.
    """
    models, needs = truth_models(study), (SeriesRole.T1CE,)
    asked = (lambda: None) if shadow else before
    coarse = Installed(model=TruthSegmenter(study=study, spacing_mm=3.0, before=asked), needs=needs)
    models = replace(models, segmenters=(coarse,))
    if not shadow:
        return models
    doubter = FixedClassifier(name="doubter", task="detection", classes=("notumor", "tumor"), probabilities=(0.9, 0.1))
    grown = GrownSegmenter(study=study, spacing_mm=3.0, before=before)
    return replace(
        models,
        detectors=(*models.detectors, Installed(model=doubter, mode=ModelMode.SHADOW)),
        segmenters=(coarse, Installed(model=grown, needs=needs, mode=ModelMode.SHADOW)),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--die-at", choices=["mid-analysis", "after-encoding", "after-delivery"])
    parser.add_argument("--marker", type=Path)
    parser.add_argument("--shadow", action="store_true", help="models that read T1CE alone, and shadow models")
    parser.add_argument("--quick", action="store_true", help="models that read T1CE alone")
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
    roles = (SeriesRole.T1CE,) if arguments.quick else tuple(SeriesRole)
    study = make_study(arguments.seed, "siemens", size="small", clutter=False, roles=roles)
    receiver = build_receiver(config, store)

    def die_when_delivered() -> None:
        while arguments.die_at and not store.scans.in_states(ScanState.DELIVERED):
            time.sleep(0.05)
        die("after-delivery")

    def load(folder: Path) -> tuple[Models, tuple[ModelStatus, ...]]:
        if arguments.shadow:
            return quick_models(study, shadow=True, before=die_when_delivered), ()
        models = partial(quick_models, shadow=False) if arguments.quick else truth_models
        return models(study, before=lambda: die("mid-analysis")), ()

    worker = build_worker(config, store, loader=load)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    receiver.start()
    worker.start()
    # In short waits: a signal that another thread happens to take does not end one that is under way.
    while not stopping.wait(1.0):
        pass
    receiver.stop()
    worker.stop()
    os._exit(0)  # as `tumor-node work` ends


if __name__ == "__main__":
    main()
