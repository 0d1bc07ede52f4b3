"""A PyTorch weight file into a network, with every way it can be wrong told apart before anything is run.

Only weights are read (`weights_only`): a file that carries code is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry

if TYPE_CHECKING:
    from torch import Tensor, nn

REPLACE = "Put the released file back in its place, or register the new one in manifest.json"


def read_torch_file(entry: ManifestEntry, path: Path, allowed: Sequence[Any] = ()) -> Any:
    """The content of a file that `torch.save` wrote: tensors, plain values, and the `allowed` globals, never code.

    Raises:
        ModelUnusable: the file is damaged, or holds anything else.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = f"{path.name} holds more than weights, or is damaged, and was not opened"
        raise ModelUnusable(entry.name, reason, "Save it again as a plain state dict") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelUnusable(entry.name, f"{path.name} is damaged or no PyTorch file", REPLACE) from error


def read_weights(entry: ManifestEntry, path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, plain or under the key 'state_dict'.

    Raises:
        ModelUnusable: the file is damaged, or holds anything but tensors.
    """
    content = read_torch_file(entry, path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    return checked_weights(entry, path, content)


def checked_weights(entry: ManifestEntry, path: Path, content: object) -> Mapping[str, Tensor]:
    """`content` if it is a state dict. Raises ModelUnusable where it is not."""
    import torch

    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelUnusable(entry.name, f"{path.name} holds no state dict", "Save it again as a plain state dict")
    return content


def fill_network(entry: ManifestEntry, path: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads the weights of `path`, as float32, into a network that must want exactly these.

    A network may know one weight by several names, and then the file must hold the same values under each.

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
    first: dict[int, str] = {}
    for name, value in wanted.items():
        twin = first.setdefault(value.data_ptr(), name)
        if not problems and twin != name and value.numel() and not torch.equal(weights[twin], weights[name]):
            problems.append(f"{twin} and {name} are one weight and differ")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        remedy = "Declare the architecture the file was trained with (base, stages, channels) in manifest.json"
        raise ModelUnusable(entry.name, f"{path.name} has other weights: {'; '.join(problems[:3])}{more}", remedy)
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise ModelUnusable(entry.name, f"{path.name} holds weights that are NaN or infinite", REPLACE)
    network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
