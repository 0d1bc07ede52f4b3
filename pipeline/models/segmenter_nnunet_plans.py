"""What plans.json and dataset.json of an nnU-Net v2 results folder say, in the words of this node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry
from pipeline.models.segmenter_axes import Axes

_CASCADE = "previous_stage"
_SAME_FOLDER = "Copy the results folder again, whole, from where nnU-Net wrote it"
#: Where a reader lays its axes: as the file has them (nnU-Net turns i, j, k round), or turned to RAS before.
_AS_STORED, _REORIENTED = "SPL", "SAR"


@dataclass(frozen=True, kw_only=True)
class NnUNetPlans:
    """One 3D configuration. Axis orders are the network's, after nnU-Net's own transposition.

    schemes: of each channel, its normalisation and whether only inside the non-zero mask. intensity: each channel's
    statistics for CTNormalization. axes: of the network, in space.
    """

    configuration: str
    patch_size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    schemes: tuple[tuple[str, bool], ...]
    intensity: tuple[Mapping[str, float], ...]
    class_name: str
    arguments: Mapping[str, Any]
    axes: Axes

    @property
    def divisor(self) -> tuple[int, int, int]:
        """What each side of an input must be a multiple of: the product of the strides."""
        strides = [step if isinstance(step, list | tuple) else [step] * 3 for step in self.arguments["strides"]]
        i, j, k = (int(np.prod([stride[axis] for stride in strides])) for axis in range(3))
        return i, j, k


def read_json(entry: ManifestEntry, path: Path) -> dict[str, Any]:
    """A JSON object of the folder. Raises ModelUnusable: missing, cut off, or another kind of JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnusable(entry.name, f"{path.name} is missing in '{entry.file}'", _SAME_FOLDER) from error
    except (OSError, ValueError) as error:
        raise ModelUnusable(entry.name, f"{path.name} in '{entry.file}' is damaged ({error})", _SAME_FOLDER) from error
    if not isinstance(content, dict):
        raise ModelUnusable(entry.name, f"{path.name} in '{entry.file}' is no JSON object", _SAME_FOLDER)
    return content


def read_plans(entry: ManifestEntry, folder: Path) -> NnUNetPlans:
    """The configuration that the entry's architecture.configuration, or else the folder's own name, names.

    Raises:
        ModelUnusable: plans.json is missing, damaged or lacks something; a configuration this node cannot run.
    """
    plans = read_json(entry, folder / "plans.json")
    try:
        name = _configuration_name(entry, folder, plans)
        values = _inherited(plans["configurations"], name)
        patch, spacing = values["patch_size"], values["spacing"]
        if len(patch) != 3 or len(spacing) != 3:
            raise ValueError(f"its configuration '{name}' is not 3D")
        if values.get(_CASCADE):
            raise ValueError(f"its configuration '{name}' is the second stage of a cascade")
        schemes, masks = values["normalization_schemes"], values["use_mask_for_norm"]
        class_name, arguments = _architecture(values)
        reader = str(plans.get("image_reader_writer", "SimpleITKIO"))
        letters = entry.orientation or (_REORIENTED if reader.endswith("Reorient") else _AS_STORED)
        forward = plans.get("transpose_forward", [0, 1, 2])
        statistics = plans.get(
            "foreground_intensity_properties_per_channel",
            plans.get("foreground_intensity_properties_by_modality", {}),
        )
        return NnUNetPlans(
            configuration=name,
            patch_size=(int(patch[0]), int(patch[1]), int(patch[2])),
            spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            schemes=tuple((str(s), bool(m)) for s, m in zip(schemes, masks, strict=True)),
            intensity=tuple(dict(statistics.get(str(number), {})) for number in range(len(schemes))),
            class_name=class_name,
            arguments=arguments,
            axes=Axes.from_letters(letters).transposed((int(forward[0]), int(forward[1]), int(forward[2]))),
        )
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), "Use a 3d_fullres or 3d_lowres model without a cascade") from error
    except (KeyError, TypeError, IndexError) as error:
        raise ModelUnusable(entry.name, f"plans.json in '{entry.file}' lacks {error}", _SAME_FOLDER) from error


def _configuration_name(entry: ManifestEntry, folder: Path, plans: Mapping[str, Any]) -> str:
    known = plans["configurations"]
    name = entry.architecture.get("configuration") or folder.name.rpartition("__")[2]
    if name not in known and "configuration" not in entry.architecture:
        name = "3d_fullres"
    if name not in known:
        raise ValueError(f"its plans have no configuration '{name}', only {', '.join(known)}")
    return str(name)


def _inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    chain: list[str] = []
    while name:
        if name in chain:
            raise ValueError(f"its configurations inherit from each other in a circle: {', '.join(chain)}")
        chain.append(name)
        name = configurations[name].get("inherits_from", "")
    values: dict[str, Any] = {}
    for link in reversed(chain):
        values |= configurations[link]
    return values


def _architecture(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The network's class and arguments, also of plans written before nnU-Net 2.3.1, which named its sizes only."""
    if "architecture" in values:
        return str(values["architecture"]["network_class_name"]), dict(values["architecture"]["arch_kwargs"])
    class_name = str(values["UNet_class_name"])
    count = len(values["n_conv_per_stage_encoder"])
    base, most = int(values["UNet_base_num_features"]), int(values["unet_max_num_features"])
    depth_key = "n_conv_per_stage" if re.search("Plain", class_name) else "n_blocks_per_stage"
    return class_name, {
        "n_stages": count,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(count)],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": values["conv_kernel_sizes"],
        "strides": values["pool_op_kernel_sizes"],
        depth_key: values["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": values["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
