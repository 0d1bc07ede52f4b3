"""The part that segmenters share, whatever runs the network: crop, channels, axes, windows, probabilities, checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import InvalidVolume, ModelUnusable
from pipeline.grids import bounding_box
from pipeline.models.manifest import ManifestEntry
from pipeline.models.protocols import Progress, no_progress
from pipeline.models.segmenter_axes import Axes, rescaled
from pipeline.models.segmenter_cascade import refined
from pipeline.models.segmenter_outputs import Outputs
from pipeline.models.segmenter_window import Run, Shape, Tiling, padded_shape, predict_windows
from pipeline.report import ModelIdentity, Region
from pipeline.volume import CHANNEL_ORDER, FloatArray, Grid, SeriesRole

REPLACE = "Put the released file back in its place, or register the new one in manifest.json"
_FIX = "Correct its entry in manifest.json"
#: Voxels kept around the brain when the image is cropped to it.
_MARGIN = 4


@dataclass(frozen=True, kw_only=True)
class VolumeNetwork:
    """A loaded network as a function of arrays. detail: what runs it, for the health page."""

    run: Run
    detail: str


@dataclass(frozen=True, kw_only=True)
class SegmenterPlan:
    """What a network is given and what its answer means.

    channels: roles in the order of the input. spacing_mm: along the network's axes. normalise: from the voxels that the
    segmenter was given, (channels, I, J, K), to the network's input. foreign: the manifest alone vouches for `outputs`.
    smallest: an image the network takes besides whole windows, and multiples of it; for probes.
    """

    channels: tuple[SeriesRole, ...]
    spacing_mm: tuple[float, float, float]
    tiling: Tiling
    outputs: Outputs
    axes: Axes = field(default_factory=Axes)
    intensities: str = "brain-zscore"
    normalise: Callable[[FloatArray], FloatArray] | None = None
    foreign: bool = False
    smallest: Shape | None = None


class WindowedSegmenter:
    """A network that reads a whole study in windows; fits `Segmenter`. Made by the loaders of each format."""

    def __init__(self, entry: ManifestEntry, plan: SegmenterPlan, network: VolumeNetwork) -> None:
        self._entry = entry
        self._plan = plan
        self._network = network

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task and weights hash."""
        entry = self._entry
        return ModelIdentity(name=entry.name, version=entry.version, task=entry.task, weights_sha256=entry.sha256)

    @property
    def spacing_mm(self) -> float:
        """Isotropic voxel size of the input; a network with a voxel size for each axis resamples from the smallest."""
        return min(self._plan.spacing_mm)

    @property
    def intensities(self) -> str:
        """What `segment` wants: 'brain-zscore', 'brain' or 'head' (see docs/adding-a-model.md)."""
        return self._plan.intensities

    @property
    def runtime_detail(self) -> str:
        """What runs the network, and why not what the manifest asks for where that is so."""
        return self._network.detail

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        """image: (4, I, J, K) in `CHANNEL_ORDER` on `grid`; a series that is missing is a channel of zeros.

        Only the box around the non-zero voxels is read; outside it every probability is 0.

        Raises:
            InvalidVolume: another shape than (4, *grid.shape), or a voxel that is not finite.
            ModelUnusable: the network's answer is not of the kind that was declared.
        """
        if image.shape != (len(CHANNEL_ORDER), *grid.shape):
            raise InvalidVolume(f"the segmenter wants {(len(CHANNEL_ORDER), *grid.shape)} voxels, not {image.shape}")
        if not np.isfinite(image).all():
            raise InvalidVolume("the segmenter's input holds NaN or infinite voxels")
        probabilities = np.zeros((len(Region), *grid.shape), np.float32)
        box = bounding_box(np.any(image != 0, axis=0), margin=_MARGIN)
        if box is None:
            progress(1.0)
            return probabilities
        part = image[(slice(None), *box)]
        probabilities[(slice(None), *box)] = self._read(part, progress)
        return probabilities

    def _read(self, image: FloatArray, progress: Progress) -> FloatArray:
        plan = self._plan
        channels = np.stack([image[CHANNEL_ORDER.index(role)] for role in plan.channels])
        if plan.normalise is not None:
            channels = plan.normalise(channels)
        turned = plan.axes.to_network(channels)
        coarse_mm = self._entry.coarse_spacing_mm
        if coarse_mm is not None:
            answer = refined(self._probabilities, turned, plan.spacing_mm, coarse_mm, progress)
        else:
            own = (self.spacing_mm, self.spacing_mm, self.spacing_mm)
            shape: Shape = (turned.shape[1], turned.shape[2], turned.shape[3])
            if own == plan.spacing_mm:
                answer = self._probabilities(turned, progress)
            else:
                there = rescaled(turned, own, plan.spacing_mm)
                answer = rescaled(self._probabilities(there, progress), plan.spacing_mm, own, shape)
        return plan.axes.to_ras(answer)

    def _probabilities(self, channels: FloatArray, progress: Progress) -> FloatArray:
        """(3, I, J, K) of an image in the network's axes and voxel size."""
        outputs = self._plan.outputs
        blended = predict_windows(self._checked_run(), channels, self._plan.tiling, progress)
        return outputs.region_probabilities(blended)

    def _checked_run(self) -> Run:
        outputs, run = self._plan.outputs, self._network.run

        def checked(window: FloatArray) -> FloatArray:
            answer = run(window)
            fault = outputs.fault(answer)
            if fault is not None:
                raise ModelUnusable(self._entry.name, f"its network {fault}", REPLACE)
            return outputs.blendable(answer)

        return checked

    def try_probe(self) -> None:
        """Run the smallest input that the network takes once.

        Raises:
            ModelUnusable: it raises, or gives another shape or kind of answer than was declared.
        """
        probe = probe_image(self._plan)
        try:
            answer = self._network.run(probe)
        except ModelUnusable:
            raise
        except Exception as error:  # a foreign network's framework may raise anything
            text = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            reason = f"its network cannot read {probe.shape[0]} channels of {probe.shape[1:]} voxels ({text})"
            raise ModelUnusable(self._entry.name, reason, _FIX) from error
        fault = self._plan.outputs.fault(answer, foreign=self._plan.foreign)
        if fault is None and answer.shape[1:] != probe.shape[1:]:
            fault = f"answers {probe.shape[1:]} voxels with {answer.shape[1:]}"
        if fault is not None:
            raise ModelUnusable(self._entry.name, f"to a probe input its network {fault}", _FIX)


def probe_image(plan: SegmenterPlan, side: int = 0) -> FloatArray:
    """(channels, i, j, k) of noise, fine and coarse, in the smallest size of at least `side` that the network takes."""
    least = plan.smallest or plan.tiling.divisor
    if least is None:
        shape = plan.tiling.window
    elif plan.smallest is None:
        shape, _ = padded_shape((side, side, side), plan.tiling)
    else:
        i, j, k = (max(-(-side // n), 1) * n for n in least)
        shape = (i, j, k)
    random = np.random.default_rng(0)
    size = (len(plan.channels), *shape)
    coarse = random.normal(size=(len(plan.channels), *(-(-n // 8) for n in shape)))
    for axis, n in enumerate(shape, start=1):
        coarse = np.repeat(coarse, 8, axis=axis).take(range(n), axis=axis)
    return (coarse + 0.5 * random.normal(size=size)).astype(np.float32)
