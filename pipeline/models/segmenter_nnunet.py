"""An nnU-Net v2 results folder, run without nnU-Net: plans.json, dataset.json, fold_*/checkpoint_final.pth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.segmenter_entry import tiling_of
from pipeline.models.segmenter_formats import Opened, Reference
from pipeline.models.segmenter_nnunet_dataset import dataset_channels, dataset_outputs
from pipeline.models.segmenter_nnunet_intensity import normaliser
from pipeline.models.segmenter_nnunet_plans import NnUNetPlans, read_json, read_plans
from pipeline.models.segmenter_windowed import SegmenterPlan

_FIX = "Correct its entry in manifest.json"
_KEYS = ("configuration", "folds", "checkpoint")
#: nnU-Net's own step between windows is half a window.
_OVERLAP = 0.5


def open_nnunet(entry: ManifestEntry, folder: Path, threads: int = 0) -> Opened:
    """See `segmenter_formats.open_segmenter`. The entry's `architecture` may choose configuration, folds, checkpoint.

    Raises:
        ModelUnusable: a part of the folder is missing or damaged, or the entry and the folder contradict each other.
    """
    unknown = sorted(set(entry.architecture) - set(_KEYS))
    if unknown:
        reason = f"architecture has unknown keys {unknown}; for nnU-Net known are {list(_KEYS)}"
        raise ModelUnusable(entry.name, reason, _FIX)
    results = verified_file(entry, folder)
    plans = read_plans(entry, results)
    dataset = read_json(entry, results / "dataset.json")
    channels, outputs = dataset_channels(entry, dataset), dataset_outputs(entry, dataset)
    if len(channels) != len(plans.schemes):
        reason = f"dataset.json has {len(channels)} channels, plans.json {len(plans.schemes)}"
        raise ModelUnusable(entry.name, reason, "Take both files from one training")
    if entry.input_size != plans.patch_size:
        reason = f"input_size is {list(entry.input_size)}, the patch_size of its plans {list(plans.patch_size)}"
        raise ModelUnusable(entry.name, reason, _FIX)
    if entry.spacing_mm is not None and abs(entry.spacing_mm - min(plans.spacing_mm)) > 1e-3:
        reason = f"spacing_mm is {entry.spacing_mm}, the smallest of its plans {min(plans.spacing_mm)}"
        raise ModelUnusable(entry.name, reason, _FIX)
    if entry.coarse_spacing_mm is not None and len(set(plans.spacing_mm)) > 1:
        raise ModelUnusable(entry.name, "coarse_spacing_mm wants one voxel size along all axes", _FIX)
    intensities, normalise = normaliser(entry, plans)
    i, j, k = plans.divisor
    return Opened(
        plan=SegmenterPlan(
            channels=channels,
            spacing_mm=plans.spacing_mm,
            tiling=tiling_of(entry, overlap=_OVERLAP, divisor=None),
            outputs=outputs,
            axes=plans.axes,
            intensities=intensities,
            normalise=normalise,
            smallest=(2 * i, 2 * j, 2 * k),
        ),
        reference=partial(
            _reference, entry, plans, _checkpoints(entry, results), len(channels), outputs.channels, threads
        ),
        design=json.dumps([plans.configuration, dict(entry.architecture)], sort_keys=True),
    )


def _checkpoints(entry: ManifestEntry, results: Path) -> list[Path]:
    """The checkpoint of each fold: of those the entry names, else of all numbered ones, else of fold_all."""
    name = str(entry.architecture.get("checkpoint", "checkpoint_final.pth"))
    # Others are not under the entry's hash.
    if re.fullmatch(r"checkpoint_[\w-]+\.pth", name) is None:
        raise ModelUnusable(entry.name, f"architecture.checkpoint '{name}' is no checkpoint_*.pth", _FIX)
    wanted = entry.architecture.get("folds")
    if wanted is not None:
        if not isinstance(wanted, list | tuple) or not all(fold == "all" or type(fold) is int for fold in wanted):
            raise ModelUnusable(entry.name, f"architecture.folds {wanted!r} are no fold numbers", _FIX)
        folders = [results / f"fold_{fold}" for fold in wanted]
    else:
        folders = sorted(results.glob("fold_[0-9]*")) or [results / "fold_all"]
    found = [folder / name for folder in folders]
    for path in found:
        if not path.is_file() or path.stat().st_size == 0:
            reason = f"{path.parent.name}/{path.name} is missing or empty in '{entry.file}'"
            remedy = "Copy that fold again, or leave it out of architecture.folds in its entry"
            raise ModelUnusable(entry.name, reason, remedy)
    if not found:
        raise ModelUnusable(entry.name, "architecture.folds is empty", _FIX)
    return found


def _reference(
    entry: ManifestEntry, plans: NnUNetPlans, checkpoints: list[Path], channels: int, heads: int, threads: int
) -> Reference:
    from pipeline.models.segmenter_nnunet_network import FoldMean, build_nnunet
    from pipeline.models.segmenter_torch import TorchReference
    from pipeline.models.unet3d_weights import checked_weights, fill_network

    folds = []
    for path in checkpoints:
        content = _checked_checkpoint(entry, plans, path)
        weights = checked_weights(entry, path, content.get("network_weights"))
        try:
            network = build_nnunet(plans.class_name, plans.arguments, channels, heads)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelUnusable(entry.name, f"its network cannot be built ({error})", "Use another model") from error
        # Saved while compiled or trained on several GPUs, the names carry a prefix.
        plain = {name.removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}
        fill_network(entry, path, network, plain)
        folds.append(network)
    i, j, k = plans.divisor
    return TorchReference(
        network=folds[0] if len(folds) == 1 else FoldMean(folds),
        channels=channels,
        shape=(2 * i, 2 * j, 2 * k),
        any_shape=True,
        kind=f"torch, {len(folds)} folds" if len(folds) > 1 else "torch",
        threads=threads,
    )


def _checked_checkpoint(entry: ManifestEntry, plans: NnUNetPlans, path: Path) -> Mapping[str, Any]:
    from pipeline.models.unet3d_weights import read_torch_file

    shown = f"{path.parent.name}/{path.name}"
    content = read_torch_file(entry, path, _allowed_globals())
    if not isinstance(content, Mapping) or not isinstance(content.get("network_weights"), Mapping):
        reason = f"{shown} is no checkpoint of nnU-Net v2: it has no network_weights"
        raise ModelUnusable(entry.name, reason, "Copy that fold again")
    arguments = content.get("init_args")
    trained = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    if trained is not None and trained != plans.configuration:
        reason = f"{shown} was trained for '{trained}', not for '{plans.configuration}'"
        raise ModelUnusable(entry.name, reason, "Name the right one in architecture.configuration")
    axes = content.get("inference_allowed_mirroring_axes")
    if entry.mirror and sorted(axes or ()) != [0, 1, 2]:
        raise ModelUnusable(entry.name, f"mirror is set, but {shown} allows mirroring along {axes} only", _FIX)
    return content


def _allowed_globals() -> list[Any]:
    """What a checkpoint holds besides tensors: its figures, as numbers of NumPy 1 or 2. None of these runs code."""
    from numpy._core import multiarray

    return [
        multiarray.scalar,
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)),
    ]
