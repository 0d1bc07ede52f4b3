"""models/manifest.json: what each model file is said to be, read into typed values and held against the file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.volume import SeriesRole

MANIFEST = "manifest.json"
TASKS = ("detection", "type", "segmentation")
#: The order `SliceClassifier` promises for a detector.
DETECTION_CLASSES = ("notumor", "tumor")
_FIX_ENTRY = f"Correct the entry in {MANIFEST} (docs/adding-a-model.md lists its keys)"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One model of the manifest. Required: name, task, file (relative), sha256 (64 hex digits), version, format.

    input_size: side of the square slices in pixels, or the three sides of the volume in voxels. input_range: what
    slices in 0..1 are stretched to before the network. threshold: study probability from which a detector says
    'tumour'. temperature: divides the logits. spacing_mm: isotropic voxel size of a segmenter.
    """

    name: str
    task: str
    file: str
    sha256: str
    version: str
    format: str
    input_size: tuple[int, ...]
    classes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    roles: tuple[SeriesRole, ...] = ()
    input_range: tuple[float, float] = (0.0, 1.0)
    threshold: float = 0.5
    temperature: float = 1.0
    spacing_mm: float | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ManifestEntry:
        """A checked entry. Keys this class does not know (data, metrics, licence, date, card) are for people.

        Raises:
            ModelUnusable: a required key is missing, or a value is of the wrong kind or out of range.
        """
        name = str(values.get("name", "without a name"))
        missing = [
            key for key in ("name", "task", "file", "sha256", "version", "format", "input_size") if key not in values
        ]
        if missing:
            raise ModelUnusable(name, f"its manifest entry lacks {', '.join(missing)}", f"{_FIX_ENTRY}.")
        try:
            size, low_high = values["input_size"], values.get("input_range", (0.0, 1.0))
            entry = cls(
                name=name,
                task=str(values["task"]),
                file=str(values["file"]),
                sha256=str(values["sha256"]).lower(),
                version=str(values["version"]),
                format=str(values["format"]),
                input_size=tuple(int(n) for n in (size if isinstance(size, list | tuple) else (size,))),
                classes=tuple(values.get("classes", ())),
                regions=tuple(values.get("regions", ())),
                channels=tuple(values.get("channels", ())),
                roles=tuple(SeriesRole(role) for role in values.get("roles", ())),
                input_range=(float(low_high[0]), float(low_high[1])),
                threshold=float(values.get("threshold", 0.5)),
                temperature=float(values.get("temperature", 1.0)),
                spacing_mm=None if values.get("spacing_mm") is None else float(values["spacing_mm"]),
                architecture=dict(values.get("architecture", {})),
            )
        except (TypeError, ValueError, IndexError) as error:
            raise ModelUnusable(name, f"its manifest entry has a wrong value ({error})", f"{_FIX_ENTRY}.") from error
        entry._check()
        return entry

    def _check(self) -> None:
        faults = {
            f"its task is '{self.task}', not one of {', '.join(TASKS)}": self.task not in TASKS,
            f"its temperature is {self.temperature}, not above 0": not self.temperature > 0,
            f"its threshold is {self.threshold}, not between 0 and 1": not 0 <= self.threshold <= 1,
            f"its input_size is {list(self.input_size)}": min(self.input_size, default=0) < 1,
            "its sha256 is not 64 hex digits": re.fullmatch("[0-9a-f]{64}", self.sha256) is None,
            f"a detector's classes must be {list(DETECTION_CLASSES)} in this order, not {list(self.classes)}": self.task
            == "detection"
            and self.classes != DETECTION_CLASSES,
            f"a type model needs at least two different classes, not {list(self.classes)}": self.task == "type"
            and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)),
        }
        for fault, present in faults.items():
            if present:
                raise ModelUnusable(self.name, fault, f"{_FIX_ENTRY}.")


def read_manifest(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The entries of `folder`/manifest.json as they stand there, unchecked.

    Raises:
        ModelUnusable: the file is missing or is not JSON of the form {"models": [...]}.
    """
    path = folder / MANIFEST
    if not path.is_file():
        reason = f"there is no {MANIFEST} in the models folder"
        raise ModelUnusable(MANIFEST, reason, "Set models.folder in config.yaml.")
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
            raise TypeError("'models' is not a list of objects")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{MANIFEST} cannot be read ({error!r})"
        raise ModelUnusable(MANIFEST, reason, "Restore it from the release.") from error
    return tuple(models)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits. Remembered until the file's size or time of change differs."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verified_file(entry: ManifestEntry, folder: Path) -> Path:
    """The path of the entry's weight file, once its bytes are those the manifest names. Opens no framework.

    Raises:
        ModelUnusable: the file is outside `folder`, missing, empty, or has another hash.
    """
    path = folder / entry.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelUnusable(entry.name, f"its file '{entry.file}' lies outside the models folder", f"{_FIX_ENTRY}.")
    if not path.is_file():
        raise ModelUnusable(entry.name, f"its file '{entry.file}' is missing", "Put the file in the models folder.")
    if path.stat().st_size == 0:
        raise ModelUnusable(entry.name, f"its file '{entry.file}' is empty (0 bytes)", "Copy the file again.")
    found = file_sha256(path)
    if found != entry.sha256:
        reason = f"its file '{entry.file}' has SHA-256 {found[:12]}..., the manifest says {entry.sha256[:12]}..."
        raise ModelUnusable(entry.name, reason, "Copy the file again, or register the new file.")
    return path
