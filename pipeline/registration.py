"""Rigid registration of one series to the reference, by mutual information.

The optimiser starts twice: from the scanner's coordinates as they are, and from the two heads' centres laid on each
other. The better metric on a coarse level goes on to the fine one. Nothing is taken to be aligned without a measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.errors import RegistrationFailed
from pipeline.geometry import RigidTransform, resample_array, to_sitk, transform_from_sitk, transform_to_sitk
from pipeline.grids import analysis_grid, coarse, head_mask, world_points
from pipeline.volume import Grid, Volume

#: One seed for every study: the same input gives the same transform, on any number of cores.
_SEED = 20
_BINS = 32
#: Below this share of the smaller head lying on the other one, the two series do not show one place.
MINIMUM_OVERLAP = 0.5
#: Motion between two series of one study; more than this is a divergence, not a patient.
_LARGEST_ROTATION_DEG = 60.0
#: Two contrasts of one head reach about 1 nat, a head and noise 0.005.
_LEAST_SIMILARITY = 0.05
_SMOOTHING_MM = 2.0
#: Two starts nearer than the first step of the optimiser walk the same way.
_SAME_START_MM = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """A measured alignment. transform: reference points to moving points, RAS+ mm.

    similarity: Mattes mutual information (nats, higher is better) before, in scanner coordinates, and after.
    overlap: share of the smaller of the two heads that lies on the other one, 0..1.
    """

    transform: RigidTransform
    similarity_before: float
    similarity_after: float
    overlap: float


@dataclass(frozen=True, kw_only=True)
class _Level:
    spacing_mm: float
    sampling: float
    step_mm: float
    tolerance_mm: float
    iterations: int


# Half as many samples on the coarse level lose thick slices: 2 of 20 motions ended over 2 mm off. On the fine one they
# lose nothing: over 40 motions the largest residual is 1.2 mm and the mean 0.3 mm with 0.05 as with 0.025.
_COARSE = _Level(spacing_mm=4.0, sampling=0.25, step_mm=4.0, tolerance_mm=0.1, iterations=20)
_FINE = _Level(spacing_mm=2.0, sampling=0.025, step_mm=1.0, tolerance_mm=0.05, iterations=4)


def register_rigid(fixed: Volume, moving: Volume) -> Registration:
    """The rigid motion from `fixed` to `moving`, whatever their grids, spacings and fields of view.

    Raises:
        RegistrationFailed: no head in one of them, less than half of the smaller head shared, a rotation no patient
            makes between series, or a fit worse than the scanner's coordinates.
    """
    fixed_head, moving_head = _head_centre(fixed), _head_centre(moving)
    starts = [RigidTransform.identity()]
    if np.linalg.norm(moving_head - fixed_head) > _SAME_START_MM:
        starts.append(RigidTransform(rotation=np.eye(3), translation=moving_head - fixed_head))
    fixed_grid = {level: analysis_grid(fixed, level.spacing_mm) for level in (_COARSE, _FINE)}
    images = {level: (_prepare(fixed, level, fixed_grid[level]), _prepare(moving, level, None)) for level in fixed_grid}
    centre = fixed_head

    attempts = (_optimise(*images[_COARSE], _COARSE, start, centre) for start in starts)
    tried = [found for found in attempts if found is not None]
    if not tried:
        raise RegistrationFailed("no position found where the two series share enough of the head")
    best, _ = max(tried, key=lambda found: found[1])
    refined = _optimise(*images[_FINE], _FINE, best, centre)
    if refined is None:
        raise RegistrationFailed("the optimiser lost the overlap of the two series")
    transform = refined[0]
    # Both by all voxels: the optimiser's own value is of its samples, and not comparable.
    before = _similarity(*images[_FINE], _FINE, RigidTransform.identity())
    after = _similarity(*images[_FINE], _FINE, transform) or 0.0
    overlap = head_overlap(fixed, moving, transform)
    if transform.rotation_deg > _LARGEST_ROTATION_DEG:
        raise RegistrationFailed(f"the best fit turns the head by {transform.rotation_deg:.0f} degrees")
    if overlap < MINIMUM_OVERLAP:
        raise RegistrationFailed(f"the two series share {overlap:.0%} of the head, {MINIMUM_OVERLAP:.0%} is needed")
    if after < _LEAST_SIMILARITY:
        raise RegistrationFailed(f"the two series have nothing in common (mutual information {after:.3f} nats)")
    if before is not None and after < 0.98 * before:
        raise RegistrationFailed("the optimiser ended with a worse fit than the scanner's own coordinates")
    return Registration(transform=transform, similarity_before=before or 0.0, similarity_after=after, overlap=overlap)


def head_overlap(fixed: Volume, moving: Volume, transform: RigidTransform) -> float:
    """Share, 0..1, of the smaller of the two heads that lies on the other one under `transform`."""
    small_fixed, small_moving = coarse(fixed), coarse(moving)
    fixed_mask = head_mask(small_fixed)
    moving_mask = head_mask(small_moving)
    on_fixed = resample_array(
        moving_mask.astype(np.float32), small_moving.grid, small_fixed.grid, "linear", 0.0, transform
    )
    shared = float((fixed_mask & (on_fixed > 0.5)).sum()) * small_fixed.grid.voxel_volume_ml
    fixed_ml = float(fixed_mask.sum()) * small_fixed.grid.voxel_volume_ml
    moving_ml = float(moving_mask.sum()) * small_moving.grid.voxel_volume_ml
    smaller = min(fixed_ml, moving_ml)
    return min(shared / smaller, 1.0) if smaller > 0 else 0.0


def _head_centre(volume: Volume) -> NDArray[np.float64]:
    small = coarse(volume)
    indices = np.argwhere(head_mask(small))
    if indices.size == 0:
        raise RegistrationFailed("no head found in the series: nothing stands out from the background")
    centre: NDArray[np.float64] = world_points(indices, small.grid).mean(axis=0)
    return centre


def _prepare(volume: Volume, level: _Level, grid: Grid | None) -> sitk.Image:
    """Block means at about `level.spacing_mm`, clipped to the 99.8 percentile; resampled onto `grid` where given.

    Block means, not sitk.Shrink: that one keeps single voxels and is half a voxel off for even factors.
    """
    small = coarse(volume, level.spacing_mm)
    ceiling = np.float32(np.percentile(small.voxels, 99.8))
    voxels = np.minimum(small.voxels, ceiling)
    image = to_sitk(voxels, small.grid) if grid is None else to_sitk(resample_array(voxels, small.grid, grid), grid)
    # Noise and slices sampled far apart give the metric local optima, some 4 mm off; smoothed, they are gone.
    return sitk.SmoothingRecursiveGaussian(image, _SMOOTHING_MM) if min(image.GetSize()) >= 4 else image


def _method(level: _Level, start: RigidTransform, centre: NDArray[np.float64]) -> sitk.ImageRegistrationMethod:
    lps_centre = [-float(centre[0]), -float(centre[1]), float(centre[2])]
    initial = sitk.Euler3DTransform()
    initial.SetCenter(lps_centre)
    affine = transform_to_sitk(start)
    matrix = np.array(affine.GetMatrix()).reshape(3, 3)
    initial.SetMatrix(matrix.ravel().tolist(), 1e-6)
    shift = np.array(affine.GetTranslation()) + matrix @ lps_centre - lps_centre
    initial.SetTranslation(shift.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(level.sampling, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(initial, inPlace=True)
    return method


def _optimise(
    fixed: sitk.Image, moving: sitk.Image, level: _Level, start: RigidTransform, centre: NDArray[np.float64]
) -> tuple[RigidTransform, float] | None:
    """The best transform found from `start` and its similarity; None where the images do not meet."""
    method = _method(level, start, centre)
    # Powell: the head is nearly a ball, and gradient descent stops on the flat rotations that Powell walks along.
    method.SetOptimizerAsPowell(
        numberOfIterations=level.iterations,
        maximumLineIterations=30,
        stepLength=level.step_mm,
        stepTolerance=level.tolerance_mm,
        valueTolerance=1e-5,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    try:
        result = method.Execute(fixed, moving)
    except RuntimeError:
        # ITK's word for "all samples map outside the moving image".
        return None
    found = sitk.Euler3DTransform(result)
    transform = transform_from_sitk(found.GetMatrix(), found.GetTranslation(), found.GetCenter())
    return transform, -float(method.GetMetricValue())


def _similarity(fixed: sitk.Image, moving: sitk.Image, level: _Level, at: RigidTransform) -> float | None:
    try:
        return -float(_method(level, at, np.zeros(3)).MetricEvaluate(fixed, moving))
    except RuntimeError:
        return None
