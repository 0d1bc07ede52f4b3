"""Labelled MRI cases for training a segmenter: from packed folders and from BraTS-named NIfTI, all turned to RAS.

The affine of a file decides its orientation, with one exception that the data forced: the packed `flair_only` cases
state an orientation they do not have (their axes run to the left and to the back like every BraTS case; turned that
way they agree with them, and one of them with another copy of the same patient).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.report import REGION_LABELS, Region
from pipeline.volume import CHANNEL_ORDER

#: Never trained on: the cases that choose between checkpoints and fill the card.
VALIDATION_CASES: tuple[str, ...] = (
    "BraTS2021_00003",
    "BraTS2021_00495",
    "BraTS2021_01481",
    "BraTS2021_01484",
)

#: Share of the training patches that each kind of case gives (normalised over the kinds that are there).
KIND_SHARES: dict[str, float] = {
    "full": 0.50,
    "two-channel": 0.08,
    "pseudo": 0.07,
    "whole-tumour-only": 0.05,
    "flair-only": 0.04,
    "no-tumour": 0.04,
    "mirrored": 0.08,
    "stack": 0.10,
    "extra": 0.12,
    "extra-healthy": 0.08,
}

#: What each kind is, for the card.
KIND_TEXTS: dict[str, str] = {
    "full": "BraTS cases with four series and expert labels",
    "two-channel": "BRATS 2013 cases with T1CE and FLAIR, expert labels",
    "pseudo": "cases with four series whose labels an algorithm drew (half the weight)",
    "whole-tumour-only": "BraTS 2018 cases with T1 and FLAIR, whole tumour only",
    "flair-only": "Decathlon cases with FLAIR only, of which the whole tumour is used",
    "no-tumour": "multiple sclerosis without a tumour",
    "mirrored": "of the cases above again, as a tumour-free brain: the healthy hemisphere on both sides",
    "stack": "low-grade glioma stacks, skull on, thick slices, FLAIR and mostly T1 and T1CE, whole tumour only",
    "extra": "synthetic head phantoms with a tumour",
    "extra-healthy": "synthetic head phantoms without a tumour, skull on or off",
}

#: Loss weight of a kind; labels drawn by an algorithm count less.
KIND_WEIGHTS: dict[str, float] = {"pseudo": 0.5}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCase:
    """One case, axes i = right, j = front, k = up.

    image: float16 (4, I, J, K) in `CHANNEL_ORDER`, z-scored in the brain, 0 outside and in missing channels.
    present: bool (4,). regions: uint8 (3, I, J, K), WT TC ET. known: bool (3,), which regions the labels tell.
    """

    name: str
    kind: str
    image: NDArray[np.float16]
    present: NDArray[np.bool_]
    regions: NDArray[np.uint8]
    known: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]

    @property
    def weight(self) -> float:
        """Loss weight."""
        return KIND_WEIGHTS.get(self.kind, 1.0)


def load_packed_case(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Arrays of one packed case: uint8 (I, J, K) by file stem. See the data's own README for the format."""
    meta = json.loads((folder / "meta.json").read_text())
    rows, columns, slices = meta["shape"]
    arrays: dict[str, NDArray[np.uint8]] = {}
    for path in sorted([*folder.glob("*.webp"), *folder.glob("*.png")]):
        with Image.open(path) as image:
            mosaic = np.asarray(image.convert("L") if path.suffix == ".webp" else image).astype(np.uint8)
        tiles = mosaic.reshape(-1, rows, meta["tiles"][1], columns).transpose(0, 2, 1, 3).reshape(-1, rows, columns)
        arrays[path.stem] = np.ascontiguousarray(tiles[:slices].transpose(1, 2, 0))
    return arrays


def regions_of(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (3, I, J, K), WT TC ET, of BraTS labels; a 3 is non-enhancing core (BraTS 2013), counted as 1."""
    merged = np.where(labels == 3, 1, labels)
    return np.stack([np.isin(merged, [int(label) for label in REGION_LABELS[region]]) for region in Region]).astype(
        np.uint8
    )


def zscore(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    """(I, J, K) with mean 0 and deviation 1 inside the mask, 0 outside."""
    inside = image[mask]
    return np.where(mask, (image - inside.mean()) / max(float(inside.std()), 1e-6), 0.0).astype(np.float16)


def to_ras(array: NDArray[np.generic], affine: NDArray[np.float64]) -> NDArray[np.generic]:
    """Axes flipped and exchanged so that the last three run to the right, the front and the top."""
    orientation = nib.orientations.io_orientation(affine)
    moved = np.moveaxis(array, (-3, -2, -1), (0, 1, 2))
    turned = np.asarray(nib.orientations.apply_orientation(moved, orientation))
    return np.ascontiguousarray(np.moveaxis(turned, (0, 1, 2), (-3, -2, -1)))


def ras_spacing(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Spacing in mm along the axes that `to_ras` gives."""
    orientation = nib.orientations.io_orientation(affine)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    by_axis = {int(axis): float(lengths[number]) for number, axis in enumerate(orientation[:, 0])}
    return by_axis[0], by_axis[1], by_axis[2]


def _kind(folder: Path, labels: set[str], modalities: set[str]) -> str | None:
    if folder.parent.name == "flair_only":
        return "flair-only"
    if folder.name.startswith("PSEUDO_"):
        return "pseudo"
    if folder.name.startswith("NEG_"):
        return "no-tumour"
    if "seg_wt" in labels:
        return "whole-tumour-only"
    if "seg" in labels:
        return "full" if len(modalities) == len(CHANNEL_ORDER) else "two-channel"
    return None


def load_training_case(folder: Path) -> TrainingCase | None:
    """The case in a packed folder, or None where it has no usable label."""
    meta = json.loads((folder / "meta.json").read_text())
    kind = _kind(folder, set(meta.get("labels", {})), set(meta["modalities"]))
    if kind is None:
        return None
    arrays = load_packed_case(folder)
    affine = np.array(meta["affine"], dtype=np.float64)
    if kind == "flair-only":
        affine = affine @ np.diag([-1.0, -1.0, 1.0, 1.0])
    names = [role.value.lower() for role in CHANNEL_ORDER]
    present = np.array([name in arrays for name in names])
    shape = tuple(meta["shape"])
    mask = np.any([arrays[name] > 0 for name in names if name in arrays], axis=0)
    image = np.stack(
        [
            zscore(arrays[name].astype(np.float32), mask) if name in arrays else np.zeros(shape, np.float16)
            for name in names
        ]
    )
    if kind == "no-tumour":
        labels = np.zeros(shape, np.uint8)
    else:
        labels = arrays["seg_wt"] * np.uint8(2) if kind == "whole-tumour-only" else arrays["seg"]
    # Enhancement and core cannot be seen without the contrast series: their loss would teach guessing.
    core_known = kind != "whole-tumour-only" and bool(present[1])
    return TrainingCase(
        name=folder.name,
        kind=kind,
        image=np.asarray(to_ras(image, affine), dtype=np.float16),
        present=present,
        regions=np.asarray(to_ras(regions_of(labels), affine), dtype=np.uint8),
        known=np.array([True, core_known, core_known]),
        spacing_mm=ras_spacing(affine),
    )


def training_folders(data: Path) -> Iterator[Path]:
    """Every packed case under DATA/mri3d, in a fixed order."""
    for group in ("full", "partial", "flair_only"):
        yield from sorted(path.parent for path in (data / "mri3d" / group).glob("*/meta.json"))


def load_training_cases(data: Path) -> tuple[list[TrainingCase], list[TrainingCase]]:
    """(training cases, validation cases) of a data folder.

    Raises:
        FileNotFoundError: there is no full case under DATA/mri3d.
    """
    cases = [case for folder in training_folders(data) if (case := load_training_case(folder)) is not None]
    if not any(case.kind == "full" for case in cases):
        raise FileNotFoundError(f"no case with four modalities and labels under {data / 'mri3d' / 'full'}")
    held_out = [case for case in cases if case.name in VALIDATION_CASES]
    return [case for case in cases if case.name not in VALIDATION_CASES], held_out
