"""The model door: what `pipeline.analysis` asks of a model, whatever framework is behind it.

To add a model: one new file with a class that fits one of these protocols, one line in `catalogue.LOADERS`, the
inherited contract test in tests/contracts/, and docs/adding-a-model.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pipeline.report import ModelIdentity
from pipeline.survival import PrognosisFacts, Survival
from pipeline.volume import CHANNEL_ORDER, FloatArray, Grid, SeriesRole

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
        axis-aligned, isotropic at `spacing_mm`); a series that is not there is a channel of zeros. Returns
        (3, I, J, K) probabilities of `report.Region` WT, TC, ET."""


@runtime_checkable
class SurvivalModel(Protocol):
    """Estimates survival from age and volumes (`pipeline.prognosis`). None comes with the node."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task 'survival' and weights hash."""

    def estimate(self, facts: PrognosisFacts) -> Survival:
        """Median and interval in months, of patients like this one."""


def intensities_of(segmenter: Segmenter) -> str:
    """What a segmenter wants its image in: its attribute `intensities` where it has one, else 'brain-zscore'.

    'brain': as scanned inside the brain, 0 outside. 'head': as scanned, on the whole analysis grid.
    """
    return str(getattr(segmenter, "intensities", "brain-zscore"))


class ModelMode(StrEnum):
    """active answers; shadow runs and is recorded, never sent; ab answers its share of the studies."""

    ACTIVE = "active"
    SHADOW = "shadow"
    AB = "ab"


class Acquisition(StrEnum):
    """How a series was acquired: in thick slices one by one, or as one volume. See `selection.acquisition_of`."""

    SLICES = "2d"
    VOLUME = "3d"


Model = TypeVar("Model", bound="SliceClassifier | Segmenter", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Installed(Generic[Model]):
    """A loaded model and when it may answer.

    share: of the studies that a version of mode 'ab' answers, 0..1. acquisition: what the reference series must be,
    empty for any. needs: roles a segmenter cannot do without; of a slice model any one of its `roles` serves.
    calibration_error: expected calibration error of a slice model's probabilities on held-out slices, where stated.
    rules: `ManifestEntry.rules` of its entry, of an ensemble those of its members; empty for a model without an entry.
    """

    model: Model
    mode: ModelMode = ModelMode.ACTIVE
    share: float = 0.0
    acquisition: tuple[Acquisition, ...] = ()
    needs: tuple[SeriesRole, ...] = CHANNEL_ORDER
    calibration_error: float | None = None
    rules: str = ""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of a node by task, the preferred first; which of them answers is chosen for each study.

    unavailable: task to the sentence why it has no model. An ensemble is one model here. survival: a
    site's own, or None.
    """

    detectors: tuple[Installed[SliceClassifier], ...] = ()
    type_classifiers: tuple[Installed[SliceClassifier], ...] = ()
    segmenters: tuple[Installed[Segmenter], ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    survival: SurvivalModel | None = None

    @classmethod
    def of(
        cls,
        *,
        detector: SliceClassifier | None = None,
        type_classifier: SliceClassifier | None = None,
        segmenter: Segmenter | None = None,
        unavailable: Mapping[str, str] | None = None,
    ) -> Models:
        """At most one active model for each task, without conditions."""
        return cls(
            detectors=() if detector is None else (Installed(model=detector),),
            type_classifiers=() if type_classifier is None else (Installed(model=type_classifier),),
            segmenters=() if segmenter is None else (Installed(model=segmenter),),
            unavailable=unavailable or {},
        )

    @property
    def detector(self) -> SliceClassifier | None:
        """The preferred active detector."""
        return _preferred(self.detectors)

    @property
    def type_classifier(self) -> SliceClassifier | None:
        """The preferred active type model."""
        return _preferred(self.type_classifiers)

    @property
    def segmenter(self) -> Segmenter | None:
        """The preferred active segmenter."""
        return _preferred(self.segmenters)

    @property
    def installed(self) -> tuple[Installed[SliceClassifier] | Installed[Segmenter], ...]:
        """Every model of every mode, by task."""
        return (*self.detectors, *self.type_classifiers, *self.segmenters)


def _preferred(installed: tuple[Installed[Model], ...]) -> Model | None:
    return next((one.model for one in installed if one.mode is ModelMode.ACTIVE), None)
