"""Bringing a study's series into one space: the reference, the analysis grid, the registrations, the brain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.brain_mask import MASK_ORDER, PLAUSIBLE_ML, best_brain_mask
from pipeline.errors import RegistrationFailed
from pipeline.geometry import Points, RigidTransform, resample
from pipeline.grids import (
    analysis_grid,
    bounding_box,
    box_grid,
    coarse,
    crop_grid,
    field_of_view_mm,
    head_mask,
    share_inside,
    world_points,
)
from pipeline.intensity import zscore_in_mask
from pipeline.registration import register_rigid
from pipeline.report import Flag, RegistrationResult
from pipeline.study_space import StudySpace
from pipeline.volume import CHANNEL_ORDER, REFERENCE_ORDER, FloatArray, Grid, LabelArray, SeriesRole, Volume

#: A series that shows less than this of the reference's head cannot tell where all of the brain is.
_HEAD_SHARE = 0.97
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

    def space(self) -> StudySpace:
        """Where the series and the brain lie, for who lays them on one another again."""
        matrices = {}
        for role, transform in self.transforms.items():
            matrices[role] = np.eye(4)
            matrices[role][:3, :3], matrices[role][:3, 3] = transform.rotation, transform.translation
        return StudySpace(to_series=matrices, brain=self.brain, grid=self.grid)

    def channels(self, spacing_mm: float, intensities: str = "brain-zscore") -> tuple[FloatArray, Grid]:
        """(4, I, J, K) in `CHANNEL_ORDER` and its isotropic grid. A role not in `volumes` is a channel of zeros.

        intensities: 'brain-zscore' is z-scored inside the brain and 0 outside, 'brain' as scanned and 0 outside; both
        cover the brain's box. 'head' is the whole analysis grid as scanned.
        """
        whole = tuple(slice(0, n) for n in self.grid.shape)
        box = whole if intensities == "head" else bounding_box(self.brain) or whole
        low, high = field_of_view_mm(crop_grid(self.grid, box))
        grid = box_grid(low - _BRAIN_MARGIN_MM, high + _BRAIN_MARGIN_MM, spacing_mm)
        brain = resample(Volume(voxels=self.brain.astype(np.float32), grid=self.grid), grid).voxels > 0.5

        def scaled(voxels: FloatArray) -> FloatArray:
            if intensities == "brain-zscore":
                return zscore_in_mask(voxels, brain)
            return voxels if intensities == "head" else np.where(brain, voxels, np.float32(0))

        image = np.stack(
            [
                scaled(resample(self.volumes[role], grid, self.transforms[role]).voxels)
                if role in self.volumes
                else np.zeros(grid.shape, np.float32)
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
    on_grid: dict[SeriesRole, Volume] = {}
    brain = best_brain_mask(_mask_candidates(reference_role, kept, transforms, grid, on_grid))
    volume_ml = float(brain.sum()) * grid.voxel_volume_ml
    if not PLAUSIBLE_ML[0] <= volume_ml <= PLAUSIBLE_ML[1]:
        flags.append(
            Flag(
                code="brain-mask-implausible",
                text=f"The brain found in the {' and '.join(on_grid)} series measures {volume_ml:.0f} mL; "
                f"{PLAUSIBLE_ML[0]:.0f} to {PLAUSIBLE_ML[1]:.0f} mL would be plausible.",
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
        _on_grid=on_grid,
    )


def _mask_candidates(
    reference_role: SeriesRole,
    volumes: Mapping[SeriesRole, Volume],
    transforms: Mapping[SeriesRole, RigidTransform],
    grid: Grid,
    on_grid: dict[SeriesRole, Volume],
) -> Iterator[Volume]:
    """The series on `grid` that show the whole head, the best one to find the brain in first; also put in `on_grid`."""
    small = coarse(volumes[reference_role])
    points = world_points(np.argwhere(head_mask(small)), small.grid)
    # The neck below the analysis grid does not matter.
    points = points[points[:, 2] >= field_of_view_mm(grid)[0][2]]
    for role in MASK_ORDER:
        if role not in volumes:
            continue
        shown = share_inside(transforms[role].apply(points), volumes[role].grid)
        if role is reference_role or shown >= _HEAD_SHARE:
            on_grid[role] = resample(volumes[role], grid, transforms[role])
            yield on_grid[role]


def _centre(volume: Volume) -> Points:
    low, high = field_of_view_mm(volume.grid)
    centre: Points = (low + high) / 2
    return centre
