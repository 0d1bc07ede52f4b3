"""Everything around the brain: scalp, muscle, skull with marrow, eyes, sinuses, neck, on the standard head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dicom_node.phantom.brain import FAR
from dicom_node.phantom.fields import Point, WaveNoise, add_ellipsoid, coordinates_mm, ellipsoid, generator
from dicom_node.phantom.tissues import Tissue
from pipeline.volume import FloatArray, Grid

_AIR: tuple[tuple[Point, Point], ...] = (
    ((7.0, 76.0, -18.0), (9.0, 6.0, 9.0)),
    ((6.0, 30.0, -38.0), (8.0, 12.0, 8.0)),
    ((26.0, 58.0, -58.0), (12.0, 14.0, 15.0)),
    ((5.0, 62.0, -50.0), (3.5, 26.0, 18.0)),
    ((62.0, -28.0, -44.0), (6.0, 9.0, 10.0)),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SkullNoise:
    """Unevenness of skull and scalp."""

    thickness: WaveNoise
    marrow: WaveNoise

    @classmethod
    def draw(cls, seed: int) -> SkullNoise:
        """The skull of the head of this seed."""
        rng = generator(seed, "skull")
        return cls(thickness=WaveNoise.draw(rng, 60.0, 16), marrow=WaveNoise.draw(rng, 22.0, 24))


def skull_layers(grid: Grid, brain: FloatArray, noise: SkullNoise) -> Iterator[tuple[Tissue, FloatArray]]:
    """Tissues from the skin inwards with their distance fields (I, J, K); each one covers those before it.

    brain: distance inside the brain's outline on the same grid.
    """
    at = coordinates_mm(grid)
    x, y, z = at
    tapered = (x * (1 + np.float32(0.0016) * (y + 20)), y, z)
    uneven = noise.thickness.on(grid)
    vault = ellipsoid(tapered, (0.0, 0.0, 4.0), (66.0, 84.0, 66.0))
    vault = np.minimum(vault, z + np.float32(28) + np.float32(0.12) * y)
    vault = np.maximum(vault, ellipsoid(at, (0.0, -44.0, -30.0), (52.0, 36.0, 34.0)))
    vault = np.maximum(np.maximum(vault, brain), np.float32(-40))
    inner = vault + np.float32(2.5)
    outer = inner + np.float32(6.0) + uneven
    skin = outer + np.float32(5.5) - np.float32(0.5) * uneven
    face = ellipsoid(at, (0.0, 38.0, -52.0), (60.0, 55.0, 62.0))
    neck = ellipsoid(at, (0.0, -22.0, -112.0), (56.0, 60.0, 82.0))
    skin = np.maximum(skin, np.maximum(face, neck))
    add_ellipsoid(skin, grid, (0.0, 92.0, -48.0), (11.0, 16.0, 18.0))
    for side in (-1.0, 1.0):
        add_ellipsoid(skin, grid, (side * 78.0, -10.0, -26.0), (5.0, 13.0, 24.0))
    yield Tissue.FAT, skin
    # A thin skin over the fat, and muscle beneath it away from the vault.
    yield Tissue.MUSCLE, np.minimum(skin, np.float32(1.8) - skin)
    marbled = noise.marrow.on(grid)
    bundles = np.abs(marbled) * 4 - np.float32(0.8)
    yield Tissue.MUSCLE, np.minimum(skin - np.float32(7.0), bundles) - np.maximum(z + 10, 0)
    yield Tissue.BONE, np.minimum(outer, inner + np.float32(7.0) + np.float32(0.02) * np.maximum(-z, 0))
    # Between the two tables of the skull: |distance to the middle of the bone| below half the marrow's thickness.
    yield Tissue.MARROW, np.float32(1.5) + np.float32(0.5) * marbled - np.abs(inner + (outer - inner) / 2 - 3)
    air = np.full(grid.shape, FAR, np.float32)
    for (cx, cy, cz), half_axes in _AIR:
        for side in (-cx, cx):
            add_ellipsoid(air, grid, (side, cy, cz), half_axes)
    yield Tissue.MUCOSA, air + np.float32(1.5)
    yield Tissue.AIR, air
    orbit = np.full(grid.shape, FAR, np.float32)
    eyes = np.full(grid.shape, FAR, np.float32)
    for side in (-32.0, 32.0):
        add_ellipsoid(orbit, grid, (side, 60.0, -26.0), (17.0, 24.0, 16.0))
        add_ellipsoid(eyes, grid, (side, 74.0, -26.0), (12.0, 12.0, 12.0))
    yield Tissue.FAT, orbit
    yield Tissue.MUSCLE, eyes + np.float32(1.5)
    yield Tissue.VITREOUS, eyes
