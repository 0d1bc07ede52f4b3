"""A weight file becomes a model of the node: copied, tried by its loader, brought to speed, entered in the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConversionFailed, ModelUnusable
from pipeline.models.catalogue import load_model
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.optimise import optimised
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.training.release import register

#: Where a file goes below the models folder, by task.
FOLDERS = {"detection": "Detection", "type": "Classification", "segmentation": "Segmentation"}
_FORMATS = {
    ".keras": "keras",
    ".h5": "keras-h5",
    ".hdf5": "keras-h5",
    ".pth": "torch-state-dict",
    ".pt": "torchscript",
}


@dataclass(frozen=True, kw_only=True)
class Registered:
    """values: the entry as it stands in the manifest. detail: what runs the model, or why not something faster."""

    values: Mapping[str, Any]
    detail: str


def format_of(path: Path, task: str) -> str:
    """The manifest's 'format' that a file or folder of this name usually has; '' where that cannot be told."""
    if path.is_dir():
        return "nnunet-v2"
    if path.suffix == ".onnx":
        return "onnx-segmenter" if task == "segmentation" else "onnx-classifier"
    return _FORMATS.get(path.suffix, "")


def register_model(
    values: Mapping[str, Any],
    folder: Path,
    options: RuntimeOptions,
    *,
    source: Path | None = None,
    faster: bool = True,
) -> Registered:
    """Enter a model in `folder`/manifest.json, in place of the entry of the same name, if it can be used.

    values: the entry without 'sha256'; without 'file' where `source` says which file it is. source: a file (or a folder
    of nnU-Net), copied below `folder` unless it lies there. faster: also look for a faster runtime. The model is loaded
    and tried before anything is written.

    Raises:
        ModelUnusable: an entry or file that no model can be made of; nothing was changed then.
        FileExistsError: another file of this name lies where the source would go.
    """
    copied = None
    if source is not None:
        copied, relative = _into(folder, source, FOLDERS.get(str(values.get("task")), ""))
        values = {**values, "file": relative}
    try:
        path = folder / str(values.get("file", ""))
        if not path.exists():
            raise ModelUnusable(str(values.get("name")), f"there is no {path}", "Name the file of the model.")
        complete = {key: value for key, value in values.items() if not key.startswith("runtime")}
        complete["sha256"] = file_sha256(path)
        entry = ManifestEntry.from_json(complete)
        detail = getattr(load_model(entry, folder, options), "runtime_detail", entry.format)
    except Exception:
        if copied is not None:
            shutil.rmtree(copied) if copied.is_dir() else copied.unlink()
        raise
    if faster:
        try:
            complete = optimised(complete, folder, options)
            detail = getattr(load_model(ManifestEntry.from_json(complete), folder, options), "runtime_detail", detail)
        except ConversionFailed as error:
            detail = f"{detail}, nothing faster: {error.reason}"
    register(folder, complete)
    return Registered(values=complete, detail=detail)


def _into(folder: Path, source: Path, task_folder: str) -> tuple[Path | None, str]:
    """Copy `source` below `folder` unless it lies there. Returns the copy, if one was made, and its relative path."""
    if source.resolve().is_relative_to(folder.resolve()):
        return None, source.resolve().relative_to(folder.resolve()).as_posix()
    target = folder / task_folder / source.name
    if target.exists():
        raise FileExistsError(17, "a file of this name is there already; rename yours, or name that one", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    return target, target.relative_to(folder).as_posix()
