"""The series of a real study that no role may take: localizer, diffusion, SWI, subtraction, reformat, screenshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.acquisition import Plane, Sampling
from dicom_node.phantom.contrast import PulseSequence
from dicom_node.phantom.imaging import slice_through
from dicom_node.phantom.series import Clutter
from dicom_node.phantom.vendors import SeriesHabit, Vendor
from pipeline.volume import FloatArray, Grid

#: (image with white matter at 1, its grid, slice thickness in mm, ImageType or None, b-value or None).
Part = tuple[FloatArray, Grid, float, tuple[str, ...] | None, float | None]
#: Measures the moved head with a sequence: (sequence, sampling, name) to image.
Measure = Callable[[PulseSequence, Sampling, str], FloatArray]

_LOCALIZER = PulseSequence(kind="spgr", repetition_ms=8.6, echo_ms=4.0, flip_deg=20)
_DWI = PulseSequence(kind="dwi", repetition_ms=5400, echo_ms=78, b_value=0.0)
_SWI = PulseSequence(kind="swi", repetition_ms=28, echo_ms=20, flip_deg=15)
_EPI_SAMPLING = Sampling(
    plane="axial",
    columns=96,
    rows=96,
    slices=22,
    pixel_mm=2.4,
    step_mm=6.5,
    thickness_mm=5.0,
    three_dimensional=False,
)
_SWI_SAMPLING = replace(
    _EPI_SAMPLING, columns=128, rows=128, slices=24, pixel_mm=1.8, step_mm=5.0, thickness_mm=5.0, three_dimensional=True
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClutterSeries:
    """A clutter series without identity. moved: measured with the head's own motion, else in T1CE's position."""

    kind: Clutter
    habit: SeriesHabit
    parts: tuple[Part, ...]
    screenshot: NDArray[np.uint8] | None = None
    moved: bool = True


_DESCRIPTIONS: dict[str, dict[Clutter, str]] = {
    "siemens": {
        Clutter.LOCALIZER: "localizer",
        Clutter.DWI: "ep2d_diff_b1000_p2",
        Clutter.ADC: "ep2d_diff_b1000_p2_ADC",
        Clutter.SWI: "SWI_Images",
        Clutter.SUBTRACTION: "t1_mprage_tra_p2_iso_KM_SUB",
        Clutter.MPR: "t1_mprage_KM MPR cor",
        Clutter.SCREENSHOT: "Screen Save",
    },
    "ge": {
        Clutter.LOCALIZER: "3Plane Loc SSFSE",
        Clutter.DWI: "Ax DWI B1000",
        Clutter.ADC: "Apparent Diffusion Coefficient (mm?/s)",
        Clutter.SWI: "Ax SWAN",
        Clutter.SUBTRACTION: "SUB: +C minus pre T1",
        Clutter.MPR: "Cor T1 BRAVO +C Reformat",
        Clutter.SCREENSHOT: "Screen Save",
    },
    "philips": {
        Clutter.LOCALIZER: "Survey",
        Clutter.DWI: "DWI_SSh",
        Clutter.ADC: "dADC",
        Clutter.SWI: "sSWIp",
        Clutter.SUBTRACTION: "SUB T1W_3D_TFE_GADO",
        Clutter.MPR: "T1W_3D_TFE_GADO MPR COR",
        Clutter.SCREENSHOT: "Secondary Capture",
    },
}
_DIFFUSION_TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "siemens": (("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND"), ("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND")),
    "ge": (("ORIGINAL", "PRIMARY", "OTHER"), ("DERIVED", "SECONDARY", "OTHER")),
    "philips": (("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"), ("DERIVED", "PRIMARY", "ADC_UNSPECIFIED", "M", "SE")),
}


def make_clutter(
    vendor: Vendor,
    contrast_habit: SeriesHabit,
    measure: Measure,
    enhanced_t1: tuple[FloatArray, Grid] | None,
    plain_t1: tuple[FloatArray, Grid] | None,
    adc: Callable[[Sampling], FloatArray],
) -> Iterator[ClutterSeries]:
    """All clutter of a study. What is derived from T1CE is left out where there is no T1CE.

    contrast_habit: of the T1CE series, whose header its derived series inherit. enhanced_t1, plain_t1: those images
    and their grids. adc: the diffusion map for a sampling. The subtraction
    is the scanner's: it does not correct the motion between the two.
    """
    words = _DESCRIPTIONS[vendor.name]
    original = contrast_habit.image_type[:2]

    def habit(
        kind: Clutter, sequence: PulseSequence, image_type: tuple[str, ...], codes: tuple[str, ...]
    ) -> SeriesHabit:
        return SeriesHabit(
            descriptions=(words[kind],),
            image_type=image_type,
            scanning_sequence=codes,
            sequence_variant=("SP",) if codes == ("GR",) else ("SK",),
            scan_options=("PFP", "FS") if "EP" in codes else (),
            sequence=sequence,
            three_dimensional=kind is Clutter.SWI,
        )

    planes: tuple[Plane, ...] = ("sagittal", "axial", "coronal")
    scout = replace(_EPI_SAMPLING, columns=128, rows=128, slices=3, pixel_mm=2.0, step_mm=20.0)
    scouts = [replace(scout, plane=plane) for plane in planes]
    yield ClutterSeries(
        kind=Clutter.LOCALIZER,
        habit=habit(Clutter.LOCALIZER, _LOCALIZER, (*original, *contrast_habit.image_type[2:]), ("GR",)),
        parts=tuple((measure(_LOCALIZER, s, f"scout {s.plane}"), s.grid(), 5.0, None, None) for s in scouts),
    )
    measured, derived = _DIFFUSION_TYPES[vendor.name]
    weighted = [replace(_DWI, b_value=b) for b in (0.0, 1000.0)]
    grid = _EPI_SAMPLING.grid()
    yield ClutterSeries(
        kind=Clutter.DWI,
        habit=habit(Clutter.DWI, _DWI, measured, ("EP",)),
        parts=tuple((measure(s, _EPI_SAMPLING, f"b{s.b_value}"), grid, 5.0, None, s.b_value) for s in weighted),
    )
    yield ClutterSeries(
        kind=Clutter.ADC,
        habit=habit(Clutter.ADC, _DWI, derived, ("EP",)),
        parts=((adc(_EPI_SAMPLING), grid, 5.0, None, None),),
    )
    yield ClutterSeries(
        kind=Clutter.SWI,
        habit=habit(Clutter.SWI, _SWI, (*original, *contrast_habit.image_type[2:]), ("GR",)),
        parts=((measure(_SWI, _SWI_SAMPLING, "swi"), _SWI_SAMPLING.grid(), 5.0, None, None),),
    )
    if enhanced_t1 is None:
        return
    image, source = enhanced_t1
    inherited = replace(contrast_habit, image_type=("DERIVED", "SECONDARY", *contrast_habit.image_type[2:]))
    coronal = replace(_EPI_SAMPLING, plane="coronal", columns=96, rows=96, slices=30, step_mm=6.0)
    reformatted = slice_through(image, source, coronal.grid(), np.eye(4), 5.0)
    yield ClutterSeries(
        kind=Clutter.MPR,
        habit=replace(
            inherited,
            descriptions=(words[Clutter.MPR],),
            image_type=("DERIVED", "SECONDARY", "REFORMATTED" if vendor.name == "ge" else "MPR"),
        ),
        parts=((reformatted, coronal.grid(), 5.0, None, None),),
        moved=False,
    )
    if plain_t1 is not None:
        onto = replace(_SWI_SAMPLING, step_mm=6.0, thickness_mm=6.0).grid()
        after = slice_through(image, source, onto, np.eye(4), 6.0)
        before = slice_through(plain_t1[0], plain_t1[1], onto, np.eye(4), 6.0)
        yield ClutterSeries(
            kind=Clutter.SUBTRACTION,
            habit=replace(
                inherited,
                descriptions=(words[Clutter.SUBTRACTION],),
                image_type=("DERIVED", "PRIMARY", "M", "SUB"),
            ),
            parts=((np.maximum(after - before, 0), onto, 6.0, None, None),),
            moved=False,
        )
    yield ClutterSeries(
        kind=Clutter.SCREENSHOT,
        habit=replace(inherited, descriptions=(words[Clutter.SCREENSHOT],), image_type=("DERIVED", "SECONDARY")),
        parts=(),
        screenshot=_screenshot(image),
        moved=False,
    )


def _screenshot(image: FloatArray) -> NDArray[np.uint8]:
    """A console's screen: one slice in grey with a measuring line and a bar of annotation, (rows, columns, 3)."""
    grey = np.clip(image[:, :, image.shape[2] // 2].T * 110, 0, 255).astype(np.uint8)
    screen = np.repeat(grey[:, :, None], 3, axis=2)
    rows, columns = grey.shape
    screen[rows // 2, columns // 4 : 3 * columns // 4] = (255, 220, 0)
    screen[rows - 10 : rows - 4, 6 : columns // 3 : 2] = (90, 220, 255)
    return screen
