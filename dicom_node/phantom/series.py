"""One series of a phantom study before it is written: pixels as stored, geometry, header, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.fields import generator
from dicom_node.phantom.vendors import SeriesHabit, Vendor
from pipeline.volume import FloatArray, Grid, SeriesRole, Volume

StoredArray = NDArray[np.int16 | np.uint16]


class Clutter(StrEnum):
    """What a real study holds beside the four series."""

    LOCALIZER = "localizer"
    DWI = "dwi"
    ADC = "adc"
    SWI = "swi"
    SUBTRACTION = "subtraction"
    MPR = "mpr"
    SCREENSHOT = "screenshot"


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Parallel slices. stored: int16 or uint16 (I, J, K), the pixel values in the file; value = stored x slope.

    image_type: where it differs from the series' own. b_value: s/mm2 of a diffusion stack.
    """

    stored: StoredArray
    slope: float
    grid: Grid
    thickness_mm: float
    image_type: tuple[str, ...] | None = None
    b_value: float | None = None

    @property
    def volume(self) -> Volume:
        """What a reader of the files must get."""
        return Volume(voxels=self.stored.astype(np.float32) * np.float32(self.slope), grid=self.grid)


@dataclass(frozen=True, kw_only=True, eq=False)
class PhantomSeries:
    """role or clutter, never both: what the series truly is.

    motion: head RAS mm to scanner RAS mm while it was measured, (4, 4). stacks: one for an ordinary series, three
    planes for a localizer, one per b-value for DWI, none for a screenshot, which has `screenshot` uint8
    (rows, columns, 3).
    """

    role: SeriesRole | None
    clutter: Clutter | None
    description: str
    habit: SeriesHabit
    number: int
    series_instance_uid: str
    minutes_after_start: int
    motion: NDArray[np.float64]
    stacks: tuple[Stack, ...]
    screenshot: NDArray[np.uint8] | None = None

    @property
    def volume(self) -> Volume:
        """The first stack as a volume.

        Raises:
            ValueError: a screenshot, which has no geometry.
        """
        if not self.stacks:
            raise ValueError(f"series '{self.description}' is a screenshot and has no volume")
        return self.stacks[0].volume


def store(image: FloatArray, vendor: Vendor, seed: int, name: str) -> tuple[StoredArray, float]:
    """Pixel values as the vendor stores them, and the rescale slope; `image` has white matter at about 1."""
    limit = 2 ** (vendor.bits_stored - (1 if vendor.signed else 0)) - 1
    scaled = np.rint(np.clip(image * np.float32(vendor.white_level), 0, limit))
    stored = scaled.astype(np.int16 if vendor.signed else np.uint16)
    if vendor.slope_range is None:
        return stored, 1.0
    return stored, round(float(generator(seed, "slope", name).uniform(*vendor.slope_range)), 5)
