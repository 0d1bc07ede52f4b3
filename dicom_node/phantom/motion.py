"""Rigid motion of the head between two series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.fields import generator


def rigid(
    rotation_deg: Sequence[float] | NDArray[np.float64], shift_mm: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotation about x, then y, then z through the origin, then a shift; (4, 4), RAS mm to RAS mm."""
    a, b, c = np.deg2rad(np.asarray(rotation_deg, dtype=np.float64))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = shift_mm
    return matrix


def draw_motion(seed: int, series: str, motion_mm: float, motion_deg: float) -> NDArray[np.float64]:
    """Where the head was during `series`: head RAS mm to scanner RAS mm, (4, 4).

    The shift's length is at most `motion_mm` and the rotation about a random axis at most `motion_deg`; both are
    at least a third of that, so that motion asked for is motion.
    """
    rng = generator(seed, "motion", series)
    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    size = rng.uniform(1 / 3, 1, 2)
    angle = np.deg2rad(size[0] * motion_deg)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = direction * size[1] * motion_mm
    return matrix
