"""From a manifest entry and a PyTorch state dict to a `Segmenter`. PyTorch is imported when a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InvalidVolume, ModelUnusable
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.protocols import Progress, no_progress
from pipeline.models.unet3d_weights import REPLACE, fill_network, read_weights
from pipeline.report import ModelIdentity, Region
from pipeline.volume import CHANNEL_ORDER, FloatArray, Grid

if TYPE_CHECKING:
    from pipeline.models.unet3d_network import NetworkPlan, UNet3d

#: Share of a window that neighbouring windows have in common.
_OVERLAP = 0.25
#: Voxels kept around the brain when the image is cropped to it.
_MARGIN = 4


class TorchSegmenter:
    """A U-Net on the CPU that reads a whole study; see `Segmenter`."""

    def __init__(self, entry: ManifestEntry, network: UNet3d, *, threads: int | None = None) -> None:
        self._entry = entry
        self._network = network
        self._threads = threads
        self._channels = [entry.channels.index(role.value) for role in CHANNEL_ORDER]
        self._regions = [entry.regions.index(region.value) for region in Region]

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, task and weights hash."""
        entry = self._entry
        return ModelIdentity(name=entry.name, version=entry.version, task=entry.task, weights_sha256=entry.sha256)

    @property
    def spacing_mm(self) -> float:
        """Isotropic voxel size of the input."""
        assert self._entry.spacing_mm is not None  # checked at load
        return self._entry.spacing_mm

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        """image: (4, I, J, K) in `CHANNEL_ORDER` on `grid`; a series that is missing is a channel of zeros.

        Only the box around the non-zero voxels is read; outside it every probability is 0.

        Raises:
            InvalidVolume: another shape than (4, *grid.shape), or a voxel that is not finite.
            ModelUnusable: the network's answer is not finite.
        """
        if image.shape != (len(CHANNEL_ORDER), *grid.shape):
            raise InvalidVolume(f"the segmenter wants {(len(CHANNEL_ORDER), *grid.shape)} voxels, not {image.shape}")
        if not np.isfinite(image).all():
            raise InvalidVolume("the segmenter's input holds NaN or infinite voxels")
        probabilities = np.zeros((len(Region), *grid.shape), np.float32)
        inside = np.nonzero(np.any(image != 0, axis=0))
        if inside[0].size == 0:
            progress(1.0)
            return probabilities
        box = tuple(
            slice(max(int(hit.min()) - _MARGIN, 0), min(int(hit.max()) + 1 + _MARGIN, side))
            for hit, side in zip(inside, grid.shape, strict=True)
        )
        answer = self._run(image[(slice(None), *box)], progress)
        if not np.isfinite(answer).all():
            raise ModelUnusable(self._entry.name, "its answer holds NaN or infinite values", REPLACE)
        probabilities[(slice(None), *box)] = answer
        return probabilities

    def _run(self, image: FloatArray, progress: Progress) -> FloatArray:
        import torch

        from pipeline.models.unet3d_window import predict_windows

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        window = self._entry.input_size
        order = np.argsort(self._channels)
        with torch.inference_mode():
            logits = predict_windows(
                self._network,
                torch.from_numpy(np.ascontiguousarray(image[order], dtype=np.float32)),
                window=(window[0], window[1], window[2]),
                divisor=self._network.plan.divisor,
                overlap=_OVERLAP,
                progress=progress,
            )
            result: FloatArray = torch.sigmoid(logits[self._regions] / self._entry.temperature).numpy()
        return result


def load_torch_segmenter(entry: ManifestEntry, folder: Path, *, threads: int | None = None) -> TorchSegmenter:
    """The segmenter of a manifest entry whose file lies under `folder`. The file's hash is checked before it is read.

    threads: how many PyTorch may use (for the whole process); None leaves its setting alone.

    Raises:
        ModelUnusable: the file is missing, empty, truncated, of another hash or shape, or more than weights; the
            entry's channels, regions, window or architecture do not fit; a probe input gives no sane answer.
    """
    from pipeline.models.unet3d_network import NetworkPlan, build_unet3d

    _check_entry(entry)
    path = verified_file(entry, folder)
    try:
        plan = NetworkPlan.from_mapping(entry.architecture)
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), "Correct its architecture in manifest.json") from error
    _check_plan(entry, plan)
    network = build_unet3d(plan)
    fill_network(entry, network, read_weights(entry, path))
    network.eval()
    _probe(entry, network)
    return TorchSegmenter(entry, network, threads=threads)


def _check_entry(entry: ManifestEntry) -> None:
    remedy = "Correct its entry in manifest.json"
    roles = [role.value for role in CHANNEL_ORDER]
    if sorted(entry.channels) != sorted(roles):
        raise ModelUnusable(entry.name, f"its channels {list(entry.channels)} are not {roles} in some order", remedy)
    regions = [region.value for region in Region]
    if sorted(entry.regions) != sorted(regions):
        raise ModelUnusable(entry.name, f"its regions {list(entry.regions)} are not {regions} in some order", remedy)
    if entry.spacing_mm is None or not 0.3 <= entry.spacing_mm <= 5:
        raise ModelUnusable(entry.name, f"spacing_mm is {entry.spacing_mm}, not a voxel size from 0.3 to 5 mm", remedy)
    if len(entry.input_size) != 3:
        raise ModelUnusable(entry.name, f"input_size is {entry.input_size}, not three sides in voxels", remedy)


def _check_plan(entry: ManifestEntry, plan: NetworkPlan) -> None:
    remedy = "Correct its entry in manifest.json"
    if plan.in_channels != len(entry.channels) or plan.out_channels != len(entry.regions):
        raise ModelUnusable(
            entry.name,
            f"its architecture reads {plan.in_channels} channels and gives {plan.out_channels} regions, "
            f"not {len(entry.channels)} and {len(entry.regions)}",
            remedy,
        )
    if any(side < 2 * plan.divisor or side % plan.divisor for side in entry.input_size):
        wanted = f"multiples of {plan.divisor} from {2 * plan.divisor} up"
        raise ModelUnusable(entry.name, f"the sides of input_size {entry.input_size} are no {wanted}", remedy)


def _probe(entry: ManifestEntry, network: UNet3d) -> None:
    import torch

    side = 2 * network.plan.divisor
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, network.plan.in_channels, side, side, side), generator=generator)
    with torch.inference_mode():
        answer = network(image)
    if tuple(answer.shape) != (1, network.plan.out_channels, side, side, side) or not torch.isfinite(answer).all():
        raise ModelUnusable(entry.name, "a probe input gave no finite answer of the right shape", REPLACE)
