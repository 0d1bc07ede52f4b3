"""What leaves the pipeline: plain frozen values, no file, no DICOM, no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np

from pipeline.anatomy import BidimensionalLesion, BrainFacts, Extent, Place
from pipeline.errors import InvalidVolume
from pipeline.followup import FollowUp
from pipeline.study_space import StudySpace
from pipeline.survival import Prognosis
from pipeline.volume import FloatArray, Grid, LabelArray, SeriesRole

#: The cuts of the volume interval; docs/uncertainty.md says what they mean and how often they held.
SURE_CUT, POSSIBLE_CUT = 0.9, 0.1
VOLUME_INTERVAL_RULE = (
    f"Interval of a volume: from what the segmenter takes for tumour with a probability above {SURE_CUT} to what has "
    f"one above {POSSIBLE_CUT}. It covers the doubt about the border, not an overlooked or mistaken lesion."
)
RESEARCH_NOTICE = "For research and decision support only. Not a medical device; not clinically validated."


class Stage(StrEnum):
    """The stages of one analysis, in order."""

    PREPARE = "prepare"
    DETECT = "detect"
    CLASSIFY = "classify"
    SEGMENT = "segment"
    MEASURE = "measure"


class SkipCode(StrEnum):
    """Why a stage did not run."""

    ROLE_MISSING = "role-missing"
    MODEL_UNAVAILABLE = "model-unavailable"
    NO_TUMOUR_DETECTED = "no-tumour-detected"
    NOTHING_SEGMENTED = "nothing-segmented"
    REGISTRATION_FAILED = "registration-failed"
    STAGE_FAILED = "stage-failed"


class Label(IntEnum):
    """BraTS voxel labels: disjoint compartments. WT = NCR + ED + ET; TC = NCR + ET."""

    NCR = 1
    ED = 2
    ET = 4


class Region(StrEnum):
    """The nested regions a segmenter gives probabilities for, in this order."""

    WT = "WT"
    TC = "TC"
    ET = "ET"


REGION_LABELS: Mapping[Region, tuple[Label, ...]] = {
    Region.WT: (Label.NCR, Label.ED, Label.ET),
    Region.TC: (Label.NCR, Label.ET),
    Region.ET: (Label.ET,),
}


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which weights gave an answer. `weights_sha256` is the hash of the weight file, 64 hex digits.

    members: the models of an ensemble; its own hash is then derived from theirs.
    """

    name: str
    version: str
    task: str
    weights_sha256: str
    members: tuple[ModelIdentity, ...] = ()

    @property
    def parts(self) -> tuple[ModelIdentity, ...]:
        """The models behind the answer: the members of an ensemble, or the model itself."""
        return self.members or (self,)


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which of the installed models answered a stage for this study, and why this one. mode: 'active' or 'ab'."""

    stage: Stage
    model: str
    version: str
    reason: str
    mode: str = "active"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A stage that did not run, and why: a code for tables, a sentence for people."""

    stage: Stage
    code: SkipCode
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadSlice:
    """One slice as a model read it. pixels: float32 (size, size) in 0..1, radiological. position_mm: along z, RAS+."""

    pixels: FloatArray
    position_mm: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A qualitative answer of a model about the study.

    value: 'tumour' or 'no tumour' for detection; a class name for the type. probability: of `value`, 0..1.
    probabilities: every class to its probability. basis: the stated rule from slices to study.
    slice_probabilities: (position along the patient's axis in mm, probability of tumour) for each slice read.
    calibration_error: expected calibration error of the model's slice probabilities on held-out slices, 0..1; None
    where the model does not state it. telling: the slice with the highest tumour probability; it stays out of the JSON.
    """

    stage: Stage
    value: str
    probability: float
    probabilities: Mapping[str, float]
    basis: str
    role: SeriesRole
    model: ModelIdentity
    slice_probabilities: tuple[tuple[float, float], ...] = ()
    calibration_error: float | None = None
    telling: ReadSlice | None = field(default=None, compare=False, repr=False)


def calibration_text(calibration_error: float | None) -> str:
    """What may be said of the probabilities of a finding."""
    if calibration_error is None:
        return "The model states no calibration of its probabilities."
    return (
        f"Calibrated probabilities: expected calibration error {calibration_error:.3f}, of single slices of patients "
        "the model never saw."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Disjoint labels (see `Label`; 0 is background), uint8 (I, J, K) on `grid`, the reference series' own grid.

    Raises:
        InvalidVolume: shape differs from the grid's, or a value is none of 0, 1, 2, 4.
    """

    labels: LabelArray
    grid: Grid
    model: ModelIdentity

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels, dtype=np.uint8)
        object.__setattr__(self, "labels", labels)
        if labels.shape != self.grid.shape:
            raise InvalidVolume(f"labels of shape {labels.shape} do not fit a grid of shape {self.grid.shape}")
        if not set(np.unique(labels)) <= {0, *Label}:
            raise InvalidVolume(f"labels must be 0, 1, 2 or 4, found {np.unique(labels).tolist()}")

    def region(self, region: Region) -> LabelArray:
        """uint8 (I, J, K), 1 inside the region: the union of its labels."""
        return np.isin(self.labels, [int(label) for label in REGION_LABELS[region]]).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number with its unit. quantity: e.g. 'volume', 'longest axial diameter', 'perpendicular axial diameter'.

    subject: what was measured: a Region or Label name ('WT', 'ET', ...). lesion: its number from 1, or None for the
    total. unit: UCUM ('mL', 'mm'). low, high: the interval around `value` in the same unit, by `VOLUME_INTERVAL_RULE`;
    None where the model gave none.

    Raises:
        ValueError: only one end of the interval, or a value outside it.
    """

    quantity: str
    subject: str
    value: float
    unit: str
    lesion: int | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"the {self.quantity} of {self.subject} has one end of an interval, not both")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(
                f"the {self.quantity} of {self.subject} is {self.value}, outside its interval {self.low} to {self.high}"
            )


@dataclass(frozen=True, kw_only=True)
class DiameterLine:
    """A diameter drawn on one slice: both ends in RAS+ mm, so that it can be drawn on any grid."""

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    length_mm: float


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One connected component of the whole tumour, numbered from 1 by falling volume.

    extent, place: None in reports written before they were measured; `place` also where the brain was not found.
    tracking_uid: the same lesion's at every date; empty where the patient's earlier results were not looked at.
    """

    number: int
    centroid_mm: tuple[float, float, float]
    volume_ml: float
    longest: DiameterLine | None = None
    perpendicular: DiameterLine | None = None
    extent: Extent | None = None
    place: Place | None = None
    tracking_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class RegistrationResult:
    """How one series was brought to the reference: rigid, moving to reference, with what was measured of it."""

    role: SeriesRole
    rotation_deg: float
    translation_mm: float
    overlap: float
    similarity_before: float
    similarity_after: float


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Something a reader should know before trusting a number. code is stable, text is for people."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StageTiming:
    """Wall-clock seconds of one stage and the process's peak resident memory in MB when it ended."""

    stage: Stage
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that leaves the pipeline for one study.

    brain: None where no brain was found or nothing measured. bidimensional: the enhancing lesions, targets first.
    follow_up, prognosis: None where nobody asked. space: where the series lie; kept apart, not in the JSON.
    """

    roles: tuple[SeriesRole, ...]
    reference_role: SeriesRole
    reference_grid: Grid
    detection: Finding | Skipped
    tumour_type: Finding | Skipped
    segmentation: Segmentation | Skipped
    measurements: tuple[Measurement, ...] | Skipped
    lesions: tuple[Lesion, ...] = ()
    registrations: tuple[RegistrationResult, ...] = ()
    flags: tuple[Flag, ...] = ()
    timings: tuple[StageTiming, ...] = ()
    choices: tuple[ModelChoice, ...] = ()
    brain: BrainFacts | None = None
    bidimensional: tuple[BidimensionalLesion, ...] = ()
    follow_up: FollowUp | None = None
    prognosis: Prognosis | None = None
    space: StudySpace | None = field(default=None, compare=False, repr=False)
    notice: str = field(default=RESEARCH_NOTICE)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Every stage that did not run, in order."""
        parts = (self.detection, self.tumour_type, self.segmentation, self.measurements)
        return tuple(part for part in parts if isinstance(part, Skipped))

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """The models that gave an answer, in order of their stages."""
        parts = (self.detection, self.tumour_type, self.segmentation)
        return tuple(part.model for part in parts if not isinstance(part, Skipped))
