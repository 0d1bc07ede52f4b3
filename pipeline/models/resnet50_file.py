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
FORBIDDEN = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
#: Layers of code stored in the file: an operator may allow them for one file.
LAMBDAS = ("Lambda", "__lambda__")
#: Layers by which Keras 2 kept a TensorFlow function by its name, and the names (prefixes) that only compute.
FUNCTION_LAYERS = ("TFOpLambda", "SlicingOpLambda")
HARMLESS_FUNCTIONS = (
    *("math.", "nn.", "__operators__.", "cast", "reshape", "expand_dims", "squeeze", "transpose", "concat", "stack"),
    *("reverse", "image.resize", "image.grayscale_to_rgb", "image.per_image_standardization", "clip_by_value"),
    *("convert_to_tensor", "identity", "tile", "repeat", "compat.v1.transpose", "keras.backend."),
)
#: Where a file names its classes: a member of the .keras archive, an attribute of the .h5 file.
CLASSES_MEMBER = "classes.json"
CLASSES_ATTRIBUTE = "class_names"
_COPY = "Copy the file again or export it anew."


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """keras_version as written. config: the model's description. classes: the file's own class names, or ()."""

    keras_version: str
    config: Any
    classes: tuple[str, ...]

    @property
    def is_keras_3(self) -> bool:
        """Whether Keras 3 wrote it; files that name no version are older."""
        return self.keras_version.split(".")[0] == "3"


def inspect(model: str, path: Path, *, allow_lambda: bool = False) -> KerasFile:
    """Reads a .keras archive or a .h5 file (told apart by content) and refuses what must not be loaded.

    allow_lambda: whether an operator allows the code that this file's Lambda layers hold.

    Raises:
        ModelUnusable: not a whole file of these kinds, weights only, or with a layer that runs code from outside.
    """
    try:
        found = _archive(path) if zipfile.is_zipfile(path) else _hdf5(path)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        reason = f"'{path.name}' is no complete Keras file (truncated, corrupt or weights only: {error})"
        raise ModelUnusable(model, reason, _COPY) from error
    for part in _objects(found.config):
        fault = _fault(part, found, allow_lambda)
        if fault is not None:
            raise ModelUnusable(model, f"'{path.name}' {fault[0]}", fault[1])
    return found


def _fault(part: dict[str, Any], file: KerasFile, allow_lambda: bool) -> tuple[str, str] | None:
    name, module = part.get("class_name"), part.get("module")
    if name in LAMBDAS and not allow_lambda:
        return (
            f"holds a {name}, which would run code from the file",
            "Export the model without it (preprocessing belongs in the manifest), or, where you know who made the file "
            "and what the code does, allow this one file: 'allow_lambda_sha256' with its hash in manifest.json.",
        )
    if name in FORBIDDEN:
        return f"holds a {name}, which would run code from outside", "Export the model with Keras's own layers only."
    config = part.get("config")
    function = str(config.get("function", "")) if isinstance(config, dict) else ""
    if name in FUNCTION_LAYERS and not function.startswith(HARMLESS_FUNCTIONS) and not allow_lambda:
        return f"calls TensorFlow's '{function}'", "Export the model without it: preprocessing belongs in the manifest."
    own = ("keras", "builtins") if file.is_keras_3 else ("keras", "tf_keras", "builtins")
    # The description of an allowed Lambda names, as 'module', where its code was written; that is not imported.
    named = isinstance(module, str) and (name is not None or not allow_lambda)
    if named and str(module).split(".")[0] not in own:
        return f"needs code of module '{module}'", "Export the model with Keras's own layers only."
    return None


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
