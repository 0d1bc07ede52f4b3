"""Where a lesion lies and how far it reaches, in words and numbers: plain frozen values of a report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Point = tuple[float, float, float]

PLACE_RULE = (
    "Side and region are coarse: the midline is the plane that halves the outline of the brain, and a region is the "
    "nearest of a few reference points in a brain scaled to a standard one. 'Sureness' is the share of the lesion that "
    "stays in the region when the whole lesion is moved by 8 mm either way along each axis. Not an anatomical atlas."
)


class Side(StrEnum):
    """The patient's side. `MIDLINE`: at least a tenth of the lesion lies on either side."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


class BrainRegion(StrEnum):
    """What is told apart, coarsely."""

    FRONTAL = "frontal lobe"
    PARIETAL = "parietal lobe"
    TEMPORAL = "temporal lobe"
    OCCIPITAL = "occipital lobe"
    INSULA = "insula"
    DEEP = "deep grey matter"
    CALLOSAL = "corpus callosum and lateral ventricles"
    CEREBELLUM = "cerebellum"
    BRAINSTEM = "brainstem"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How far a lesion reaches. low_mm, high_mm: corners of its box along RAS+ x, y, z, voxel edges included.

    subject: the Region ('TC', else 'WT') that diameter and surface are of. maximum_diameter_mm: the largest distance
    between any two of its points in 3D, from `from_mm` to `to_mm` (RAS+). surface_cm2: area of its smoothed surface.
    """

    low_mm: Point
    high_mm: Point
    subject: str
    maximum_diameter_mm: float
    from_mm: Point
    to_mm: Point
    surface_cm2: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a lesion lies, by `PLACE_RULE`. region_sureness: 0..1. also: other regions with a tenth of it or more.

    distance_to_midline_mm: of the lesion's nearest point; 0 where it crosses.
    """

    side: Side
    region: BrainRegion
    region_sureness: float
    distance_to_midline_mm: float
    also: tuple[BrainRegion, ...] = ()

    @property
    def text(self) -> str:
        """For people, e.g. 'right frontal lobe (sureness 0.82)'."""
        side = "" if self.side is Side.MIDLINE else f"{self.side} "
        crosses = ", crossing the midline" if self.side is Side.MIDLINE else ""
        return f"{side}{self.region}{crosses} (sureness {self.region_sureness:.2f})"


@dataclass(frozen=True, kw_only=True)
class BrainFacts:
    """What was measured of the brain as a whole.

    tumour_share: whole tumour over brain, both in mL, 0..1. midline_shift_mm: estimate by symmetry of the brain's
    middle, to the patient's right where positive; None where nothing symmetric enough was found.
    """

    volume_ml: float
    tumour_share: float
    lesion_count: int
    midline_shift_mm: float | None = None

    @property
    def multifocal(self) -> bool:
        """More than one separate lesion."""
        return self.lesion_count > 1


@dataclass(frozen=True, kw_only=True)
class BidimensionalLesion:
    """A lesion's enhancing part as RANO measures it, on one axial slice of the native reference series.

    product_mm2: longest times perpendicular. measurable: both at least `least_mm` and seen on two slices or more.
    target: among the two largest measurable ones. slice_index: of the reference grid, from 0, along its slice axis;
    None where the grid has no axial planes. z_mm: RAS+ height of the middle of the longest diameter.
    """

    lesion: int
    longest_mm: float
    perpendicular_mm: float
    product_mm2: float
    measurable: bool
    target: bool
    least_mm: float
    slice_index: int | None
    z_mm: float
