"""The model door: what `pipeline.analysis` asks of a model, whatever framework is behind it.

To add a model: one new file with a class that fits one of these protocols, one line in `catalogue.LOADERS`, the
inherited contract test in tests/contracts/, and docs/adding-a-model.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.report import ModelIdentity
from pipeline.volume import FloatArray, Grid, SeriesRole

#: Called with the share of the work done, 0..1.
Progress = Callable[[float], None]


def no_progress(share: float) -> None:
    """Progress that nobody watches."""


@runtime_checkable
class SliceClassifier(Protocol):
    """Reads axial slices one by one: tumour detection or tumour type."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task and weights hash."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of `predict`'s last axis. Detection: ('notumor', 'tumor')."""

    @property
    def roles(self) -> tuple[SeriesRole, ...]:
        """Roles the model was trained on, preferred first."""

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels (224)."""

    @property
    def threshold(self) -> float:
        """Study probability from which a detector says 'tumour' (unused by a type model)."""

    def predict(self, slices: FloatArray) -> FloatArray:
        """slices: (n, size, size) in 0..1, rows from front to back of the head, columns from the patient's right to
        left (radiological), made by `pipeline.slices`. Returns (n, classes) probabilities whose rows sum to 1."""


@runtime_checkable
class Segmenter(Protocol):
    """Reads four co-registered channels and gives a probability for each region."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task and weights hash."""

    @property
    def spacing_mm(self) -> float:
        """Isotropic voxel size the model wants its input on."""

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        """image: (4, I, J, K) in `volume.CHANNEL_ORDER`, z-scored inside the brain mask, 0 outside, on `grid` (RAS
        axis-aligned, isotropic at `spacing_mm`). Returns (3, I, J, K) probabilities of `report.Region` WT, TC, ET."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of one analysis; a None comes with its reason in `unavailable` (task to sentence)."""

    detector: SliceClassifier | None
    type_classifier: SliceClassifier | None
    segmenter: Segmenter | None
    unavailable: dict[str, str]
