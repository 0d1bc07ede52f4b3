"""The node's own segmenter: a PyTorch state dict of `UNet3d`. PyTorch is imported when its weights are loaded."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_axes import Axes
from pipeline.models.segmenter_entry import channel_roles, isotropic_spacing, normaliser, region_outputs, tiling_of
from pipeline.models.segmenter_formats import Opened, Reference
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.segmenter_windowed import SegmenterPlan, WindowedSegmenter
from pipeline.models.unet3d_plan import NetworkPlan

_FIX = "Correct its entry in manifest.json"
#: Share of a window that neighbouring windows have in common.
_OVERLAP = 0.25


def load_torch_segmenter(
    entry: ManifestEntry, folder: Path, options: RuntimeOptions = RuntimeOptions()
) -> WindowedSegmenter:
    """See `segmenter_loading.load_segmenter`, which reads every format."""
    return load_segmenter(entry, folder, options)


def open_unet3d(entry: ManifestEntry, folder: Path, threads: int = 0) -> Opened:
    """A state dict of `UNet3d` with the `architecture` that the entry declares; see `segmenter_formats.open_segmenter`.

    Raises:
        ModelUnusable: the entry's channels, regions, window or architecture do not fit; missing file, other hash.
    """
    channels = channel_roles(entry)
    outputs = region_outputs(entry, kind="logits")
    spacing = isotropic_spacing(entry)
    path = verified_file(entry, folder)
    try:
        plan = NetworkPlan.from_mapping(entry.architecture)
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), "Correct its architecture in manifest.json") from error
    if plan.in_channels != len(channels) or plan.out_channels != outputs.channels:
        raise ModelUnusable(
            entry.name,
            f"its architecture reads {plan.in_channels} channels and gives {plan.out_channels} regions, "
            f"not {len(channels)} and {outputs.channels}",
            _FIX,
        )
    tiling = tiling_of(entry, overlap=_OVERLAP, divisor=(plan.divisor, plan.divisor, plan.divisor))
    if any(side < 2 * plan.divisor or side % plan.divisor for side in tiling.window):
        wanted = f"multiples of {plan.divisor} from {2 * plan.divisor} up"
        raise ModelUnusable(entry.name, f"the sides of input_size {entry.input_size} are no {wanted}", _FIX)
    return Opened(
        plan=SegmenterPlan(
            channels=channels,
            spacing_mm=(spacing, spacing, spacing),
            tiling=tiling,
            outputs=outputs,
            axes=Axes.from_letters(entry.orientation or "RAS"),
            intensities=entry.intensities,
            normalise=normaliser(entry),
        ),
        reference=partial(_reference, entry, path, plan, threads),
        design=json.dumps(dict(entry.architecture), sort_keys=True),
    )


def _reference(entry: ManifestEntry, path: Path, plan: NetworkPlan, threads: int) -> Reference:
    from pipeline.models.segmenter_torch import TorchReference
    from pipeline.models.unet3d_network import build_unet3d
    from pipeline.models.unet3d_weights import fill_network, read_weights

    network: Any = build_unet3d(plan)
    fill_network(entry, path, network, read_weights(entry, path))
    side = 2 * plan.divisor
    return TorchReference(
        network=network, channels=plan.in_channels, shape=(side, side, side), any_shape=True, threads=threads
    )
