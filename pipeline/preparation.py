"""Bringing a study's series into one space: the reference, the analysis grid, the registrations, the brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.brain_mask import brain_mask
from pipeline.errors import RegistrationFailed
from pipeline.geometry import Points, RigidTransform, resample
from pipeline.grids import analysis_grid, bounding_box, box_grid, crop_grid, field_of_view_mm
from pipeline.intensity import zscore_in_mask
from pipeline.registration import register_rigid
from pipeline.report import Flag, RegistrationResult
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, FloatArray, Grid, LabelArray, SeriesRole, Volume

#: A brain outside these bounds was not found rightly, or is not wholly there.
_BRAIN_ML = (700.0, 2200.0)
#: Room around the brain in the segmenter's image.
_BRAIN_MARGIN_MM = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedStudy:
    """Series in one space. Every transform takes reference points to points of that role's series.

    volumes: the usable series on their native grids, those that could be registered. grid: 1 mm, RAS+ axis-aligned.
    brain: uint8 on `grid`. unregistered: roles whose registration failed, with the reason.
    """

    reference_role: SeriesRole
    volumes: Mapping[SeriesRole, Volume]
    transforms: Mapping[SeriesRole, RigidTransform]
    registrations: tuple[RegistrationResult, ...]
    unregistered: Mapping[SeriesRole, str]
    grid: Grid
    brain: LabelArray
    flags: tuple[Flag, ...]
    _on_grid: dict[SeriesRole, Volume] = field(default_factory=dict, repr=False)

    @property
    def reference(self) -> Volume:
        """The reference series on its own grid."""
        return self.volumes[self.reference_role]

    def on_analysis_grid(self, role: SeriesRole) -> Volume:
        """The series of `role` resampled to `grid`; made once."""
        if role not in self._on_grid:
            self._on_grid[role] = resample(self.volumes[role], self.grid, self.transforms[role])
        return self._on_grid[role]

    def channels(self, spacing_mm: float) -> tuple[FloatArray, Grid]:
        """(4, I, J, K) in `CHANNEL_ORDER`, z-scored inside the brain and 0 outside, and its isotropic grid.

        The grid covers the brain's box. All four roles must be in `volumes`.
        """
        box = bounding_box(self.brain) or tuple(slice(0, n) for n in self.grid.shape)
        low, high = field_of_view_mm(crop_grid(self.grid, box))
        grid = box_grid(low - _BRAIN_MARGIN_MM, high + _BRAIN_MARGIN_MM, spacing_mm)
        brain = resample(Volume(voxels=self.brain.astype(np.float32), grid=self.grid), grid).voxels > 0.5
        image = np.stack(
            [
                zscore_in_mask(resample(self.volumes[role], grid, self.transforms[role]).voxels, brain)
                for role in CHANNEL_ORDER
            ]
        )
        return image, grid


def prepare(volumes: Mapping[SeriesRole, Volume], progress: Callable[[float], None]) -> PreparedStudy:
    """Choose the reference, register every other series to it, find the brain.

    A series whose registration fails is left out with a flag; the study goes on.
    """
    reference_role = next(role for role in REFERENCE_ORDER if role in volumes)
    reference = volumes[reference_role]
    others = [role for role in volumes if role is not reference_role]
    kept = {reference_role: reference}
    transforms = {reference_role: RigidTransform.identity()}
    results: list[RegistrationResult] = []
    unregistered: dict[SeriesRole, str] = {}
    flags: list[Flag] = []
    for done, role in enumerate(others):
        progress(0.9 * done / len(others))
        try:
            found = register_rigid(reference, volumes[role])
        except RegistrationFailed as error:
            unregistered[role] = str(error)
            flags.append(
                Flag(
                    code="registration-failed",
                    text=f"The {role} series was left out, it does not fit the {reference_role} series: {error}.",
                )
            )
            continue
        kept[role] = volumes[role]
        transforms[role] = found.transform
        results.append(
            RegistrationResult(
                role=role,
                rotation_deg=found.transform.rotation_deg,
                translation_mm=found.transform.displacement_mm(_centre(reference)),
                overlap=found.overlap,
                similarity_before=found.similarity_before,
                similarity_after=found.similarity_after,
            )
        )
    progress(0.9)
    grid = analysis_grid(reference)
    on_grid = resample(reference, grid)
    brain = brain_mask(on_grid)
    volume_ml = float(brain.sum()) * grid.voxel_volume_ml
    if not _BRAIN_ML[0] <= volume_ml <= _BRAIN_ML[1]:
        flags.append(
            Flag(
                code="brain-mask-implausible",
                text=f"The brain found in the {reference_role} series measures {volume_ml:.0f} mL; "
                f"{_BRAIN_ML[0]:.0f} to {_BRAIN_ML[1]:.0f} mL would be plausible.",
            )
        )
    if not brain.any():
        # A stage that reads slices still has the field of view to read from.
        brain = np.ones(grid.shape, dtype=np.uint8)
    progress(1.0)
    return PreparedStudy(
        reference_role=reference_role,
        volumes=kept,
        transforms=transforms,
        registrations=tuple(results),
        unregistered=unregistered,
        grid=grid,
        brain=brain,
        flags=tuple(flags),
        _on_grid={reference_role: on_grid},
    )


def _centre(volume: Volume) -> Points:
    low, high = field_of_view_mm(volume.grid)
    centre: Points = (low + high) / 2
    return centre
