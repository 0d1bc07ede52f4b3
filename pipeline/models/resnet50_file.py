"""What a Keras file says of itself, read without Keras: who wrote it, its layers, its class names."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable

#: Layers that run code or files from outside the model's own description.
FORBIDDEN = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
#: Where a file names its classes: a member of the .keras archive, an attribute of the .h5 file.
CLASSES_MEMBER = "classes.json"
CLASSES_ATTRIBUTE = "class_names"
_COPY = "Copy the file again or export it anew with Keras 3."


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """keras_version as written. config: the model's description. classes: the file's own class names, or ()."""

    keras_version: str
    config: Any
    classes: tuple[str, ...]


def inspect(model: str, path: Path) -> KerasFile:
    """Reads a .keras archive or a .h5 file (told apart by content) and refuses what must not be loaded.

    Raises:
        ModelUnusable: not a whole file of these kinds, weights only, written by Keras 2, or with a layer that runs
            code from outside.
    """
    try:
        found = _archive(path) if zipfile.is_zipfile(path) else _hdf5(path)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        reason = f"'{path.name}' is no complete Keras file (truncated, corrupt or weights only: {error})"
        raise ModelUnusable(model, reason, _COPY) from error
    if found.keras_version.split(".")[0] != "3":
        raise ModelUnusable(
            model,
            f"'{path.name}' was written by Keras {found.keras_version or 'of unknown version'}, not Keras 3",
            "Load it with the Keras that wrote it, rebuild it in Keras 3 and save it again.",
        )
    for part in _objects(found.config):
        name, module = part.get("class_name"), part.get("module")
        if name in FORBIDDEN:
            raise ModelUnusable(
                model,
                f"'{path.name}' holds a {name}, which would run code from the file",
                "Export the model without it: preprocessing belongs in the manifest.",
            )
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            reason = f"'{path.name}' needs code of module '{module}'"
            raise ModelUnusable(model, reason, "Export the model with Keras's own layers only.")
    return found


def _archive(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"member {broken} is damaged")
        metadata = json.loads(archive.read("metadata.json"))
        classes = json.loads(archive.read(CLASSES_MEMBER)) if CLASSES_MEMBER in archive.namelist() else ()
        return KerasFile(
            keras_version=str(metadata.get("keras_version", "")),
            config=json.loads(archive.read("config.json")),
            classes=tuple(classes),
        )


def _hdf5(path: Path) -> KerasFile:
    import h5py

    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "")
        return KerasFile(
            keras_version=version.decode() if isinstance(version, bytes) else str(version),
            config=json.loads(file.attrs["model_config"]),
            classes=tuple(json.loads(file.attrs.get(CLASSES_ATTRIBUTE, "[]"))),
        )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)
