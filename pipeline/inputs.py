"""Which of the given series can be worked with, and what a reader should know about the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.errors import NothingToAnalyse
from pipeline.grids import field_of_view_mm
from pipeline.report import Flag
from pipeline.volume import SeriesRole, Volume

#: A brain is about 130 mm high; less coverage than this leaves some of it out.
FULL_COVERAGE_MM = 100.0
#: Less than this on any side is a slab or a scout, no head.
LEAST_COVERAGE_MM = 30.0
#: More than this on any side is no scanner's field of view: a spacing is wrong, tenfold most often.
LARGEST_COVERAGE_MM = 700.0
#: From this slice distance on, volumes and diameters along the slice axis are coarse.
THICK_SLICES_MM = 7.0


def usable_volumes(volumes: Mapping[SeriesRole, Volume]) -> tuple[dict[SeriesRole, Volume], tuple[Flag, ...]]:
    """The volumes fit for analysis, in the order of `SeriesRole`, and flags for what was dropped or is doubtful.

    Raises:
        NothingToAnalyse: no volume given, or none usable; the message says why for each.
    """
    kept: dict[SeriesRole, Volume] = {}
    flags: list[Flag] = []
    refused: list[str] = []
    for role in SeriesRole:
        if role not in volumes:
            continue
        refusal = _refusal(volumes[role])
        if refusal is not None:
            code, reason = refusal
            refused.append(f"{role}: {reason}")
            flags.append(Flag(code=code, text=f"The {role} series was left out: {reason}."))
            continue
        kept[role] = volumes[role]
        flags.extend(_doubts(role, volumes[role]))
    if not kept:
        raise NothingToAnalyse("; ".join(refused) or "no series with a role (T1, T1CE, T2 or FLAIR) was given")
    return kept, tuple(flags)


def _refusal(volume: Volume) -> tuple[str, str] | None:
    """Code and reason why a volume cannot be used, or None."""
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    if high <= low:
        return "series-constant", "its image is constant, no tissue stands out"
    bottom, top = field_of_view_mm(volume.grid)
    extent = float((top - bottom).min())
    if extent < LEAST_COVERAGE_MM:
        return "series-too-small", f"it covers only {extent:.0f} mm, at least {LEAST_COVERAGE_MM:.0f} mm needed"
    extent = float((np.array(volume.grid.shape) * volume.grid.spacing_mm).max())
    if extent > LARGEST_COVERAGE_MM:
        reason = f"it covers {extent:.0f} mm, at most {LARGEST_COVERAGE_MM:.0f} mm are possible; check its spacing"
        return "series-too-large", reason
    axes = volume.grid.affine[:3, :3] / np.array(volume.grid.spacing_mm)
    if abs(axes.T @ axes - np.eye(3)).max() > 0.02:
        return "series-sheared", "its voxel axes are not at right angles (gantry tilt)"
    return None


def _doubts(role: SeriesRole, volume: Volume) -> list[Flag]:
    flags = []
    bottom, top = field_of_view_mm(volume.grid)
    height = float(top[2] - bottom[2])
    if height < FULL_COVERAGE_MM:
        flags.append(
            Flag(
                code="coverage-small",
                text=f"The {role} series covers {height:.0f} mm from head to foot; part of the brain is not in it.",
            )
        )
    thickest = max(volume.grid.spacing_mm)
    if thickest > THICK_SLICES_MM:
        flags.append(
            Flag(
                code="slices-thick",
                text=f"The slices of the {role} series lie {thickest:.1f} mm apart; measures across them are coarse.",
            )
        )
    return flags
