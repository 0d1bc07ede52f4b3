"""From tissue to image: slice profile, position of the head, coil sensitivity and noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.phantom.fields import WaveNoise, coordinates_mm, slabs
from pipeline.volume import FloatArray, Grid


@dataclass(frozen=True, kw_only=True)
class Imperfections:
    """noise: sd of the noise in each channel, relative to white matter. bias: relative sd of the coil's shading.

    texture: relative sd of the mottle within a tissue.
    """

    noise: float = 0.025
    bias: float = 0.12
    texture: float = 0.03


def coil_shading(grid: Grid, rng: np.random.Generator, bias: float) -> FloatArray:
    """Multiplicative receive field: smooth over a quarter metre, and fading out below the head. (I, J, K)."""
    waves = WaveNoise.draw(rng, 260.0, 8)
    shading = np.empty(grid.shape, np.float32)
    for planes, slab in slabs(grid):
        z = coordinates_mm(slab)[2]
        # A head coil hears little of the neck: half at 95 mm below the middle of the brain.
        shading[planes] = np.exp(np.float32(bias) * waves.on(slab)) / (1 + np.exp((-95 - z) / np.float32(12)))
    return shading


def texture_on(grid: Grid, rng: np.random.Generator, texture: float) -> FloatArray:
    """Mottle as a factor about 1, a smooth noise of 9 mm wavelength, float32 (I, J, K)."""
    waves = WaveNoise.draw(rng, 9.0, 24)
    factor = np.empty(grid.shape, np.float32)
    for planes, slab in slabs(grid):
        factor[planes] = 1 + np.float32(texture) * waves.on(slab)
    return factor


def add_rician_noise(image: FloatArray, rng: np.random.Generator, sigma: float) -> FloatArray:
    """Magnitude of a complex signal whose real and imaginary parts both carry noise of sd `sigma`."""
    noisy = np.empty_like(image)
    for plane, clean in zip(noisy, image, strict=True):
        real, imaginary = rng.standard_normal((2, *clean.shape), dtype=np.float32) * np.float32(sigma)
        np.hypot(clean + real, imaginary, out=plane)
    return noisy


def slice_through(
    image: FloatArray, source: Grid, target: Grid, motion: NDArray[np.float64], thickness_mm: float
) -> FloatArray:
    """`image` on `source` as seen by `target`, whose slices (third axis) average over `thickness_mm`. Float32.

    motion: head RAS mm to scanner RAS mm; `source` is fixed to the head, `target` to the scanner.
    """
    to_source = np.linalg.inv(motion @ source.affine) @ target.affine
    count = max(1, ceil(thickness_mm / (1.25 * min(source.spacing_mm))))
    across = thickness_mm / target.spacing_mm[2]
    total = np.zeros(target.shape, np.float32)
    for offset in (np.arange(count) - (count - 1) / 2) / count * across:
        start = to_source[:3, 3] + to_source[:3, 2] * offset
        total += ndimage.affine_transform(
            image, to_source[:3, :3], offset=start, output_shape=target.shape, order=1, output=np.float32
        )
    total /= np.float32(count)
    return total


def receive(image: FloatArray, grid: Grid, rng: np.random.Generator, flaws: Imperfections) -> FloatArray:
    """The image (white matter about 1) with coil shading and noise, on its own `grid`."""
    return add_rician_noise(image * coil_shading(grid, rng, flaws.bias), rng, flaws.noise)
