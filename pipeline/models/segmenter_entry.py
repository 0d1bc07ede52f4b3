"""What a manifest entry declares of a segmenter, checked: channels, regions or labels, voxel size, windows, axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry
from pipeline.models.segmenter_axes import Axes
from pipeline.models.segmenter_outputs import Outputs
from pipeline.models.segmenter_window import Shape, Tiling
from pipeline.models.segmenter_windowed import SegmenterPlan
from pipeline.volume import CHANNEL_ORDER, FloatArray, SeriesRole

_FIX = "Correct its entry in manifest.json"
#: A foreign network is run as nnU-Net runs its own: each window shares half with the next.
_FOREIGN_OVERLAP = 0.5
#: Values of `outputs` that say the file's last layer is an activation already.
_KINDS = {"probabilities": "probabilities", "softmax": "probabilities", "sigmoid": "probabilities"}


def channel_roles(entry: ManifestEntry) -> tuple[SeriesRole, ...]:
    """The roles of the input's channels. Raises ModelUnusable: none, one twice, or none of the four."""
    names = [role.value for role in CHANNEL_ORDER]
    if not entry.channels or len(set(entry.channels)) < len(entry.channels) or not set(entry.channels) <= set(names):
        reason = f"its channels {list(entry.channels)} are not some of {names}, each once"
        raise ModelUnusable(entry.name, reason, _FIX)
    return tuple(SeriesRole(name) for name in entry.channels)


def region_outputs(entry: ManifestEntry, *, kind: str) -> Outputs:
    """Heads for the entry's `regions`. Raises ModelUnusable: they are not WT, TC and ET."""
    try:
        return Outputs.of_regions(entry.regions, kind=kind, temperature=entry.temperature)
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), _FIX) from error


def declared_outputs(entry: ManifestEntry) -> Outputs:
    """Outputs of a foreign file: `label_map` (exclusive labels) or `regions` (a head for each), and `outputs`.

    Raises:
        ModelUnusable: both or neither are given, they leave a region out, or `outputs` does not go with them.
    """
    kind = _KINDS.get(entry.outputs, entry.outputs)
    if bool(entry.label_map) == bool(entry.regions):
        reason = "it must have either a label_map (exclusive labels) or regions (a sigmoid each)"
        raise ModelUnusable(entry.name, reason, _FIX)
    clash = {"sigmoid": "label_map", "softmax": "regions"}.get(entry.outputs)
    if clash is not None and getattr(entry, clash):
        raise ModelUnusable(entry.name, f"its outputs are '{entry.outputs}', which does not go with {clash}", _FIX)
    if entry.regions:
        return region_outputs(entry, kind=kind)
    try:
        return Outputs.of_labels(entry.label_map, kind=kind, temperature=entry.temperature)
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), _FIX) from error


def isotropic_spacing(entry: ManifestEntry) -> float:
    """The entry's voxel size in mm. Raises ModelUnusable: missing, or none that a brain is looked at with."""
    if entry.spacing_mm is None or not 0.3 <= entry.spacing_mm <= 5:
        reason = f"spacing_mm is {entry.spacing_mm}, not a voxel size from 0.3 to 5 mm"
        raise ModelUnusable(entry.name, reason, _FIX)
    return entry.spacing_mm


def tiling_of(entry: ManifestEntry, *, overlap: float, divisor: Shape | None) -> Tiling:
    """Windows of `input_size`; see `Tiling`. Raises ModelUnusable: it has not three sides."""
    if len(entry.input_size) != 3:
        raise ModelUnusable(entry.name, f"input_size is {entry.input_size}, not three sides in voxels", _FIX)
    i, j, k = entry.input_size
    return Tiling(
        window=(i, j, k),
        overlap=overlap if entry.overlap is None else entry.overlap,
        divisor=divisor,
        mirror=(0, 1, 2) if entry.mirror else (),
    )


def normaliser(entry: ManifestEntry) -> Callable[[FloatArray], FloatArray] | None:
    """What the entry's `mean` and `std`, one for each channel or one for all, do to an image (channels, I, J, K).

    Raises:
        ModelUnusable: another number of them.
    """
    if not entry.mean:
        return None
    if len(entry.mean) not in (1, len(entry.channels)):
        reason = f"its mean has {len(entry.mean)} values for {len(entry.channels)} channels"
        raise ModelUnusable(entry.name, reason, _FIX)
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1, 1) for values in (entry.mean, entry.std))
    return lambda image: (image - mean) / std


def foreign_plan(entry: ManifestEntry) -> SegmenterPlan:
    """All that a TorchScript or ONNX file is given, from its entry alone. Raises ModelUnusable as the parts do."""
    spacing = isotropic_spacing(entry)
    return SegmenterPlan(
        channels=channel_roles(entry),
        spacing_mm=(spacing, spacing, spacing),
        tiling=tiling_of(entry, overlap=_FOREIGN_OVERLAP, divisor=None),
        outputs=declared_outputs(entry),
        axes=Axes.from_letters(entry.orientation or "RAS"),
        intensities=entry.intensities,
        normalise=normaliser(entry),
        foreign=True,
    )
