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
from pipeline.models import manifest_values as read
from pipeline.volume import CHANNEL_ORDER, SeriesRole

MANIFEST = "manifest.json"
TASKS = ("detection", "type", "segmentation")
#: The order `SliceClassifier` promises for a detector.
DETECTION_CLASSES = ("notumor", "tumor")
#: Formats whose 'file' is a folder, and what of it is read.
FOLDER_FORMATS = ("nnunet-v2",)
_FOLDER_PARTS = ("dataset.json", "plans.json", "fold_*/checkpoint_*.pth")
#: What the answer depends on beside the weights; when a model may answer is in `protocols.Installed`.
_ANSWER_FIELDS = (
    *("format", "input_size", "classes", "output_classes", "class_map", "regions", "channels", "roles"),
    *("input_range", "mean", "std", "channel_order", "layout", "outputs", "label_map", "threshold", "temperature"),
    *("spacing_mm", "coarse_spacing_mm", "orientation", "intensities", "overlap", "mirror", "architecture"),
)
_FIX_ENTRY = f"Correct the entry in {MANIFEST} (docs/adding-a-model.md lists its keys)"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One model of the manifest. Required: name, task, file (relative), sha256 (64 hex digits), version, format.

    input_size: side of the square slices in pixels, or the three sides of the volume in voxels. input_range: what
    slices in 0..1 are stretched to; then `mean` is taken away and divided by `std` (one for each channel, or one).
    threshold: study probability from which a detector says 'tumour'. temperature: divides the logits. spacing_mm:
    isotropic voxel size of a segmenter. output_classes: the file's own class names in the file's order (empty: those
    of `classes`); class_map: a name of the file to one of `classes`, where they differ. share: of the studies that a
    version of mode 'ab' answers. needs: roles a segmenter cannot do without. label_map: label of a foreign segmenter
    to the name of a region. allow_lambda_sha256: the file whose Lambda layers the operator allows to run. The
    runtime_ values are written by registration. docs/adding-a-model.md has them all.
    """

    name: str
    task: str
    file: str
    sha256: str
    version: str
    format: str
    input_size: tuple[int, ...]
    classes: tuple[str, ...] = ()
    output_classes: tuple[str, ...] = ()
    class_map: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    roles: tuple[SeriesRole, ...] = ()
    needs: tuple[SeriesRole, ...] = CHANNEL_ORDER
    acquisition: tuple[str, ...] = ()
    mode: str = "active"
    share: float = 0.0
    ensemble: str | None = None
    input_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: str = "grey"
    layout: str = "NHWC"
    outputs: str = "probabilities"
    label_map: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.5
    temperature: float = 1.0
    calibration_error: float | None = None
    spacing_mm: float | None = None
    coarse_spacing_mm: float | None = None
    orientation: str = ""
    intensities: str = "brain-zscore"
    overlap: float | None = None
    mirror: bool = False
    architecture: Mapping[str, Any] = field(default_factory=dict)
    allow_lambda_sha256: str | None = None
    runtime: str = "reference"
    runtime_file: str | None = None
    runtime_sha256: str | None = None
    runtime_precision: str = "f32"
    runtime_parity: Mapping[str, Any] = field(default_factory=dict)

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
            mean, std = read.normalisation(values)
            entry = cls(
                name=name,
                task=str(values["task"]),
                file=str(values["file"]),
                sha256=str(values["sha256"]).lower(),
                version=str(values["version"]),
                format=str(values["format"]),
                input_size=tuple(int(n) for n in read.numbers(values, "input_size")),
                classes=read.names(values, "classes"),
                output_classes=read.names(values, "output_classes"),
                class_map=read.text_map(values, "class_map"),
                regions=read.names(values, "regions"),
                channels=read.names(values, "channels"),
                roles=read.roles(values, "roles"),
                needs=read.needs(values),
                acquisition=read.names(values, "acquisition", read.ACQUISITIONS),
                mode=read.choice(values, "mode", read.MODES),
                share=read.share(values),
                ensemble=None if values.get("ensemble") is None else str(values["ensemble"]),
                input_range=read.input_range(values),
                mean=mean,
                std=std,
                channel_order=read.choice(values, "channel_order", read.CHANNEL_ORDERS),
                layout=read.choice(values, "layout", read.LAYOUTS),
                outputs=read.choice(values, "outputs", read.OUTPUTS),
                label_map=read.label_map(values),
                threshold=float(values.get("threshold", 0.5)),
                temperature=float(values.get("temperature", 1.0)),
                calibration_error=read.calibration_error(values),
                spacing_mm=None if values.get("spacing_mm") is None else float(values["spacing_mm"]),
                coarse_spacing_mm=read.coarse_spacing(values),
                orientation=read.orientation(values),
                intensities=read.choice(values, "intensities", read.INTENSITIES),
                overlap=read.overlap(values),
                mirror=read.yes_or_no(values, "mirror"),
                architecture=dict(values.get("architecture", {})),
                allow_lambda_sha256=read.sha256(values, "allow_lambda_sha256"),
                runtime=read.choice(values, "runtime", read.RUNTIMES),
                runtime_file=None if values.get("runtime_file") is None else str(values["runtime_file"]),
                runtime_sha256=read.sha256(values, "runtime_sha256"),
                runtime_precision=read.choice(values, "runtime_precision", read.PRECISIONS),
                runtime_parity=dict(values.get("runtime_parity", {})),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelUnusable(name, f"its manifest entry has a wrong value ({error})", f"{_FIX_ENTRY}.") from error
        entry._check()
        return entry

    @property
    def rules(self) -> str:
        """Text that differs where the same weights would answer otherwise: hex digits of the entry's declarations."""
        said = {name: getattr(self, name) for name in _ANSWER_FIELDS}
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=dict).encode()).hexdigest()[:12]

    @property
    def own_classes(self) -> tuple[str, ...]:
        """The file's names of its classes, in the order of its output."""
        return self.output_classes or self.classes

    @property
    def mapped_classes(self) -> tuple[str, ...]:
        """For each of `own_classes` which of `classes` it counts as; several may count as one."""
        return tuple(self.class_map.get(name, name) for name in self.own_classes)

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
            f"its file's classes {list(self.own_classes)} with its class_map do not cover exactly its classes "
            f"{list(self.classes)}": set(self.mapped_classes) != set(self.classes)
            or len(set(self.own_classes)) < len(self.own_classes),
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
    """SHA-256 of a file's bytes, 64 hex digits. Remembered until the file's size or time of change differs.

    Of a results folder of nnU-Net: what `sha256sum dataset.json fold_*/checkpoint_*.pth plans.json | sha256sum` gives
    in it, so that one number stands for all that is read from there.
    """
    if path.is_dir():
        parts = sorted(part.relative_to(path).as_posix() for pattern in _FOLDER_PARTS for part in path.glob(pattern))
        lines = "".join(f"{file_sha256(path / part)}  {part}\n" for part in parts)
        return hashlib.sha256(lines.encode()).hexdigest()
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
    if not (path.is_dir() if entry.format in FOLDER_FORMATS else path.is_file()):
        raise ModelUnusable(entry.name, f"its file '{entry.file}' is missing", "Put the file in the models folder.")
    if path.is_file() and path.stat().st_size == 0:
        raise ModelUnusable(entry.name, f"its file '{entry.file}' is empty (0 bytes)", "Copy the file again.")
    found = file_sha256(path)
    if found != entry.sha256:
        reason = f"its file '{entry.file}' has SHA-256 {found[:12]}..., the manifest says {entry.sha256[:12]}..."
        raise ModelUnusable(entry.name, reason, "Copy the file again, or register the new file.")
    return path
