"""Rigid transforms and resampling between grids.

The rest of `pipeline` speaks RAS+ millimetres; SimpleITK speaks LPS+. The change of sign happens in this module and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.errors import InvalidVolume
from pipeline.volume import FloatArray, Grid, Volume

Order = Literal["linear", "nearest"]
Points = NDArray[np.float64]

_RAS_LPS = np.diag([-1.0, -1.0, 1.0])
_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


@dataclass(frozen=True, kw_only=True, eq=False)
class RigidTransform:
    """A rotation and a shift, y = rotation x + translation, from RAS+ mm of the fixed image to the moving image.

    rotation: float64 (3, 3), orthonormal, determinant +1. translation: float64 (3,), mm.

    Raises:
        InvalidVolume: the matrix is no rotation, or a number is not finite.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def __post_init__(self) -> None:
        rotation = np.array(self.rotation, dtype=np.float64)
        translation = np.array(self.translation, dtype=np.float64)
        if rotation.shape != (3, 3) or translation.shape != (3,) or not np.isfinite(translation).all():
            raise InvalidVolume("a rigid transform needs a 3 x 3 rotation and three finite shifts")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
            raise InvalidVolume("the matrix of a rigid transform must be a rotation (orthonormal, determinant +1)")
        rotation.setflags(write=False)
        translation.setflags(write=False)
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @classmethod
    def identity(cls) -> RigidTransform:
        """The transform that moves nothing."""
        return cls(rotation=np.eye(3), translation=np.zeros(3))

    @classmethod
    def from_parameters(
        cls, angles_deg: Sequence[float], translation_mm: Sequence[float], centre_mm: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> RigidTransform:
        """Rotation about x, then y, then z (degrees) around `centre_mm`, then a shift; all in RAS+."""
        ax, ay, az = np.deg2rad(np.asarray(angles_deg, dtype=np.float64))
        about_x = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
        about_y = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
        about_z = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
        rotation = about_z @ about_y @ about_x
        centre = np.asarray(centre_mm, dtype=np.float64)
        return cls(rotation=rotation, translation=centre - rotation @ centre + np.asarray(translation_mm, np.float64))

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation about its own axis, 0..180 degrees."""
        return float(np.rad2deg(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))

    def inverse(self) -> RigidTransform:
        """The transform back: moving points to fixed points."""
        return RigidTransform(rotation=self.rotation.T, translation=-self.rotation.T @ self.translation)

    def after(self, first: RigidTransform) -> RigidTransform:
        """One transform that does `first`, then this one."""
        return RigidTransform(
            rotation=self.rotation @ first.rotation, translation=self.rotation @ first.translation + self.translation
        )

    def apply(self, points_mm: Points) -> Points:
        """points_mm: (..., 3) fixed points; returns the moving points, (..., 3)."""
        moved: Points = np.asarray(points_mm, dtype=np.float64) @ self.rotation.T + self.translation
        return moved

    def displacement_mm(self, point_mm: Points) -> float:
        """How far this transform moves one point, in mm."""
        return float(np.linalg.norm(self.apply(point_mm) - point_mm))


def to_sitk(array: NDArray[Any], grid: Grid) -> sitk.Image:
    """array (I, J, K) on a RAS+ `grid` as a SimpleITK image in LPS+; its index order is (i, j, k) as ours."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin((_RAS_LPS @ grid.affine[:3, 3]).tolist())
    image.SetDirection((_RAS_LPS @ grid.affine[:3, :3] / np.array(grid.spacing_mm)).ravel().tolist())
    return image


def from_sitk(image: sitk.Image) -> NDArray[Any]:
    """The voxels of a SimpleITK image as an array (I, J, K)."""
    voxels: NDArray[Any] = np.ascontiguousarray(sitk.GetArrayFromImage(image).T)
    return voxels


def transform_to_sitk(transform: RigidTransform) -> sitk.AffineTransform:
    """The same map, fixed to moving points, in LPS+ mm."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((_RAS_LPS @ transform.rotation @ _RAS_LPS).ravel().tolist())
    affine.SetTranslation((_RAS_LPS @ transform.translation).tolist())
    return affine


def transform_from_sitk(
    matrix: Sequence[float], translation: Sequence[float], centre: Sequence[float]
) -> RigidTransform:
    """A rigid map given by ITK's matrix (9 numbers), translation and centre in LPS+ mm."""
    rotation = np.asarray(matrix, dtype=np.float64).reshape(3, 3)
    # ITK's optimisers leave rounding of 1e-7 or so: take the nearest rotation.
    left, _, right = np.linalg.svd(rotation)
    rotation = left @ right
    middle = np.asarray(centre, dtype=np.float64)
    shift = middle - rotation @ middle + np.asarray(translation, dtype=np.float64)
    return RigidTransform(rotation=_RAS_LPS @ rotation @ _RAS_LPS, translation=_RAS_LPS @ shift)


def resample_array(
    array: NDArray[Any],
    grid: Grid,
    onto: Grid,
    order: Order = "linear",
    fill: float = 0.0,
    transform: RigidTransform | None = None,
) -> NDArray[Any]:
    """array (I, J, K) on `grid`, sampled at the voxels of `onto` (same dtype; `fill` outside the field of view).

    transform: takes points of `onto`'s image to points of `array`'s image; None where both lie in one space.
    """
    if transform is None and grid.same_as(onto, tolerance_mm=1e-6):
        return array.copy()
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize(onto.shape)
    filter_.SetOutputSpacing(onto.spacing_mm)
    filter_.SetOutputOrigin((_RAS_LPS @ onto.affine[:3, 3]).tolist())
    filter_.SetOutputDirection((_RAS_LPS @ onto.affine[:3, :3] / np.array(onto.spacing_mm)).ravel().tolist())
    filter_.SetInterpolator(_INTERPOLATORS[order])
    filter_.SetDefaultPixelValue(float(fill))
    filter_.SetTransform(transform_to_sitk(transform or RigidTransform.identity()))
    return from_sitk(filter_.Execute(to_sitk(array, grid)))


def resample(
    volume: Volume, onto: Grid, transform: RigidTransform | None = None, order: Order = "linear", fill: float = 0.0
) -> Volume:
    """`volume` sampled on the grid `onto`; see `resample_array`."""
    voxels: FloatArray = resample_array(volume.voxels, volume.grid, onto, order, fill, transform)
    return Volume(voxels=voxels, grid=onto)
