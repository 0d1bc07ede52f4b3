"""A tumour as functions of position: necrotic core (NCR), enhancing rim (ET) and oedema (ED).

The image is drawn from the same functions the truth is read from, so their borders agree at every resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicom_node.phantom.fields import Point, WaveNoise, coordinates_mm, ellipsoid, generator, window
from pipeline.volume import FloatArray, Grid, LabelArray

NCR, ED, ET = 1, 2, 4
"""The labels of the BraTS convention; 3 is not used."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One tumour. Lengths in mm, RAS.

    core_radius_mm: of the solid part (rim and necrosis). rim_mm: thickness of the enhancing rim; 0 for a tumour
    that does not enhance, whose core is then all NCR (BraTS: necrotic or non-enhancing core); the core radius or
    more for one that enhances throughout. oedema_mm: how far oedema reaches beyond the core. shape: ratio of the
    half axes to the radius. irregularity: 0 for a smooth border, about 0.3 for a ragged one.
    """

    centre_mm: Point
    core_radius_mm: float
    rim_mm: float
    oedema_mm: float
    shape: Point = (1.0, 1.0, 1.0)
    irregularity: float = 0.15
    seed: int = 0

    @property
    def reach_mm(self) -> float:
        """No part of the lesion is farther than this from its centre."""
        # The limits of each term of lesion_fields, and a tenth for the first-order distance.
        core = self.core_radius_mm * (max(self.shape) + 2 * self.irregularity)
        return 1.1 * (core + 1.9 * self.oedema_mm + 2) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class LesionFields:
    """Signed distances in mm, positive inside, float32 (I, J, K): core includes NCR; oedema includes the core."""

    necrosis: FloatArray
    core: FloatArray
    oedema: FloatArray


def lesion_fields(lesion: Lesion, grid: Grid, brain: FloatArray, matter: FloatArray, white: FloatArray) -> LesionFields:
    """The lesion on `grid`, kept inside the brain.

    brain: distance inside the brain's outline (sulci and ventricles filled). matter: distance inside brain tissue;
    fluid takes no oedema. white: distance inside white matter, along which oedema spreads farther than in cortex.
    """
    rng = generator(lesion.seed, "lesion")
    radius = lesion.core_radius_mm
    lumps = WaveNoise.draw(rng, max(1.3 * radius, 8.0), 24).on(grid)
    grain = WaveNoise.draw(rng, max(0.6 * radius, 5.0), 24).on(grid)
    fingers = WaveNoise.draw(rng, max(1.1 * (radius + lesion.oedema_mm), 14.0), 24).on(grid)
    half_axes: Point = (radius * lesion.shape[0], radius * lesion.shape[1], radius * lesion.shape[2])
    ball = ellipsoid(coordinates_mm(grid), lesion.centre_mm, half_axes)
    ragged = np.clip(0.7 * lumps + 0.3 * grain, -2, 2) * np.float32(lesion.irregularity * radius)
    core = np.minimum(ball + ragged, brain - 1)
    rim = lesion.rim_mm * (1 + 0.35 * np.clip(grain, -2, 2)) if lesion.rim_mm > 0 else 0.0
    necrosis = core - rim
    spread = lesion.oedema_mm * (1 + 0.45 * np.clip(fingers, -2, 2)) + np.clip(white - 1, -4, 2)
    oedema = np.minimum(ball + ragged + spread, matter - 0.3) if lesion.oedema_mm > 0 else core
    return LesionFields(
        necrosis=necrosis.astype(np.float32), core=core.astype(np.float32), oedema=oedema.astype(np.float32)
    )


def labels_of(fields: LesionFields) -> LabelArray:
    """NCR, ED, ET or 0 at every voxel centre, uint8 (I, J, K)."""
    labels = np.where(fields.oedema > 0, np.uint8(ED), np.uint8(0))
    labels[fields.core > 0] = ET
    labels[fields.necrosis > 0] = NCR
    return labels


def lesion_window(lesion: Lesion, grid: Grid) -> tuple[tuple[slice, slice, slice], Grid] | None:
    """The part of `grid` the lesion can touch; None where it touches none."""
    return window(grid, lesion.centre_mm, lesion.reach_mm)


def draw_lesion(seed: int, centre_mm: Point, *, enhancing: bool = True) -> Lesion:
    """A random lesion at `centre_mm`: 7 to 24 mm core radius, with or without necrosis, little or much oedema."""
    rng = generator(seed, "lesion size")
    radius = float(rng.triangular(7, 14, 24))
    solid = rng.random() < 0.15
    rim = radius * 1.5 if solid else float(np.clip(radius * rng.uniform(0.2, 0.45), 2.5, 8))
    x, y, z = (float(v) for v in rng.uniform(0.8, 1.2, 3))
    return Lesion(
        centre_mm=centre_mm,
        core_radius_mm=radius,
        rim_mm=rim if enhancing else 0.0,
        oedema_mm=float(rng.uniform(4, 14)),
        shape=(x, y, z),
        irregularity=float(rng.uniform(0.08, 0.22)),
        seed=seed,
    )
