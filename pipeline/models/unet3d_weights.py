"""A PyTorch weight file into a network, with every way it can be wrong told apart before anything is run.

Only weights are read (`weights_only`): a file that carries code is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.unet3d_network import UNet3d

REPLACE = "Put the released file back in its place, or register the new one in manifest.json"


def read_weights(entry: ManifestEntry, path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, plain or under the key 'state_dict'.

    Raises:
        ModelUnusable: the file is damaged, or holds anything but tensors.
    """
    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = f"{entry.file} holds more than weights, or is damaged, and was not opened"
        raise ModelUnusable(entry.name, reason, "Save it again as a plain state dict") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelUnusable(entry.name, f"{entry.file} is damaged or no PyTorch file", REPLACE) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelUnusable(entry.name, f"{entry.file} holds no state dict", "Save it again as a plain state dict")
    return content


def fill_network(entry: ManifestEntry, network: UNet3d, weights: Mapping[str, Tensor]) -> None:
    """Loads the weights, as float32, into a network that must want exactly these.

    Raises:
        ModelUnusable: a name or a shape differs, or a weight is not finite.
    """
    import torch

    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in weights]
    problems += [f"{name} is not known" for name in weights if name not in wanted]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        remedy = "Declare the architecture the file was trained with (base, stages, channels) in manifest.json"
        raise ModelUnusable(entry.name, f"{entry.file} has other weights: {'; '.join(problems[:3])}{more}", remedy)
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise ModelUnusable(entry.name, f"{entry.file} holds weights that are NaN or infinite", REPLACE)
    network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
