"""Augmentation of a batch of slices in TensorFlow, stateless: the same seed gives the same pictures.

Everything that could tell the source of a picture apart from the anatomy is varied: place, size, turn, brightness
curve, sharpness, noise, and what lies behind the head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_affine(rng: np.random.Generator, count: int, size: int, strength: float = 1.0) -> NDArray[np.float32]:
    """(count, 8) output-to-input projective maps: left-right flip, turn to 20 degrees, scale 0.8-1.25, shift 8 %,
    the last three times `strength`."""
    angle = np.deg2rad(rng.uniform(-20, 20, count)) * strength
    zoom = np.exp(
        strength * (rng.uniform(np.log(0.8), np.log(1.25), (count, 1)) + rng.uniform(-0.08, 0.08, (count, 2)))
    )
    flip = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    shift = rng.uniform(-0.08, 0.08, (count, 2)) * size * strength
    a = np.stack([np.cos(angle) * flip / zoom[:, 0], -np.sin(angle) / zoom[:, 1]], 1)
    b = np.stack([np.sin(angle) * flip / zoom[:, 0], np.cos(angle) / zoom[:, 1]], 1)
    centre = (size - 1) / 2
    offset = np.stack([centre - a.sum(1) * centre + shift[:, 0], centre - b.sum(1) * centre + shift[:, 1]], 1)
    zero = np.zeros((count, 2))
    return np.concatenate([a, offset[:, :1], b, offset[:, 1:], zero], 1).astype(np.float32)


def brightness_curves(rng: np.random.Generator, count: int, strength: float = 1.0) -> NDArray[np.float32]:
    """(count, 17) rising curves from 0..1 to 0..1 at 17 even points: a gamma, bent at random, sometimes clipped."""
    x = np.linspace(0, 1, 17)
    gamma = np.exp(rng.normal(0, 0.25 * strength, (count, 1)))
    steps = np.diff(x**gamma, axis=1) * np.exp(rng.normal(0, 0.25 * strength, (count, 16)))
    curve = np.concatenate([np.zeros((count, 1)), np.cumsum(steps, 1)], 1)
    curve /= curve[:, -1:]
    top = 1 + strength * rng.uniform(-0.25, 0.2, (count, 1))
    return np.clip(curve * top, 0, 1).astype(np.float32)


def warp(pictures: Any, maps: Any, size: int) -> Any:
    """Pictures (n, s, s, c) through `random_affine`'s maps, to (n, size, size, c), bilinear, black outside."""
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=maps,
        output_shape=[size, size],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )


def _salted(seed: Any, salt: int) -> Any:
    """A seed of its own for each draw of one step."""
    return seed + np.array([0, salt], np.int32)


def change_look(images: Any, curves: Any, seed: Any, strength: Any) -> Any:
    """Brightness curve, slow shading, blur, noise and background of a batch (n, s, s, 1) in 0..1; stays in 0..1.

    strength: scalar, 1 for the whole range of each.
    """
    import tensorflow as tf

    count, size = tf.shape(images)[0], images.shape[1]

    def uniform(shape: Any, low: float, high: float, salt: int) -> Any:
        return tf.random.stateless_uniform(shape, _salted(seed, salt), low, high)

    position = images[..., 0] * 16.0
    low = tf.clip_by_value(tf.cast(tf.floor(position), tf.int32), 0, 15)
    share = position - tf.cast(low, tf.float32)
    flat = tf.reshape(low, [count, -1])
    below, above = tf.gather(curves, flat, batch_dims=1), tf.gather(curves, flat + 1, batch_dims=1)
    share = tf.reshape(share, [count, -1])
    out = tf.reshape(below + (above - below) * share, tf.shape(images))

    shading = tf.image.resize(uniform([count, 3, 3, 1], -0.2, 0.2, 1), [size, size], method="bicubic")
    out = out * (1 + strength * shading)
    blurred = tf.nn.avg_pool2d(out, 3, 1, "SAME")
    amount = strength * uniform([count, 1, 1, 1], -0.4, 1.2, 2)  # below 0 sharpens
    out = out + tf.minimum(amount, 1.0) * (blurred - out)

    noise = tf.random.stateless_normal(tf.shape(out), _salted(seed, 3))
    out = out + noise * strength * uniform([count, 1, 1, 1], -0.04, 0.05, 4) * tf.cast(
        uniform([count, 1, 1, 1], 0, 1, 5) < 0.5, tf.float32
    )
    # Air is told from tissue by the original picture; some sources have grey or framed surroundings.
    air = tf.cast(tf.nn.max_pool2d(images, 5, 1, "SAME") < 0.06, tf.float32)
    choice = strength * uniform([count, 1, 1, 1], 0, 1, 6)
    level = tf.where(choice < 0.5, 0.0, tf.where(choice < 0.9, choice * 0.1, uniform([count, 1, 1, 1], 0.1, 0.6, 7)))
    grey = level * uniform(tf.shape(out), 0.7, 1.3, 8)
    out = tf.where(choice < 0.6, out, out * (1 - air) + grey * air)
    return tf.clip_by_value(out, 0.0, 1.0)


def cut_out(images: Any, outlines_full: Any, seed: Any, strength: Any) -> Any:
    """Covers a square of 10-30 % of the side in a quarter (times `strength`) of the pictures, never over tumour."""
    import tensorflow as tf

    count, size = tf.shape(images)[0], images.shape[1]
    centre = tf.random.stateless_uniform([count, 2, 1, 1], _salted(seed, 21), 0.0, 1.0) * size
    half = tf.random.stateless_uniform([count, 1, 1], _salted(seed, 22), 0.05, 0.15) * size
    ruler = tf.range(size, dtype=tf.float32)
    inside = (tf.abs(ruler[None, :, None] - centre[:, 0]) < half) & (tf.abs(ruler[None, None, :] - centre[:, 1]) < half)
    used = tf.random.stateless_uniform([count, 1, 1], _salted(seed, 23), 0.0, 1.0) < 0.25 * strength
    hole = tf.cast(inside & used, tf.float32)[..., None] * tf.cast(outlines_full < 0.1, tf.float32)
    fill = tf.random.stateless_uniform([count, 1, 1, 1], _salted(seed, 24), 0.0, 0.6)
    return images * (1 - hole) + fill * hole
