"""A slice beside the same slice with the places that speak for a class in colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidVolume
from pipeline.volume import FloatArray

_GAP = 8
_OPACITY = 0.65
#: From little to much: the colours of glowing metal, which nothing in a grey picture has.
_COLOURS = np.array([(90, 0, 60), (220, 40, 40), (255, 150, 30), (255, 240, 130)], np.float64)


def attention_picture(pixels: FloatArray, heat: FloatArray) -> NDArray[np.uint8]:
    """RGB uint8 (size, 2 size + 8, 3): the slice, and beside it the slice under its heat.

    pixels, heat: (size, size) in 0..1. Where the heat is 0 the slice is seen as it is.

    Raises:
        InvalidVolume: two shapes, or values that are not finite.
    """
    if pixels.shape != heat.shape or pixels.ndim != 2:
        raise InvalidVolume(f"a slice of shape {pixels.shape} and heat of shape {heat.shape} make no picture")
    if not (np.isfinite(pixels).all() and np.isfinite(heat).all()):
        raise InvalidVolume("a slice or its heat holds NaN or infinite values")
    grey = np.repeat(255 * np.clip(pixels, 0, 1)[..., None].astype(np.float64), 3, axis=2)
    strength = np.clip(heat, 0, 1).astype(np.float64)
    steps = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(strength, steps, _COLOURS[:, channel]) for channel in range(3)], axis=2)
    share = _OPACITY * np.minimum(2 * strength, 1)[..., None]
    gap = np.zeros((len(pixels), _GAP, 3))
    picture = np.concatenate([grey, gap, (1 - share) * grey + share * colour], axis=1)
    rounded: NDArray[np.uint8] = picture.round().astype(np.uint8)
    return rounded
