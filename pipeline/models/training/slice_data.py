"""Training slices: read once from the labelled sets, put through `pipeline.slices`, kept as uint8 in one .npz."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.case_files import case_folders, find_case_files
from pipeline.errors import InvalidVolume
from pipeline.nifti import load_nifti_labels, load_nifti_volume
from pipeline.slices import model_slice_with_mask, radiological

TYPE_CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
#: Label of a slice whose tumour type nobody stated: it trains detection only.
UNSPECIFIED = -1
#: Cases kept for validation of the 3D model; the 2D models do not see them either.
HELD_BACK = ("BraTS2021_00003", "BraTS2021_00495", "BraTS2021_01481", "BraTS2021_01484")
#: How often slices are drawn, by (dataset, class): in the one set that holds all three tumour kinds they are even.
SHARES: Mapping[tuple[str, int], float] = {
    ("figshare", 0): 0.9,
    ("figshare", 1): 1.2,
    ("figshare", 3): 0.95,
    ("figshare_exchanged", 0): 0.25,
    ("figshare_exchanged", 1): 0.25,
    ("lgg", 0): 0.25,
    ("lgg_stacks", 0): 0.25,
    ("mri3d", 0): 0.2,
    ("phantom", 0): 0.1,
    ("lgg", 2): 0.3,
    ("lgg_stacks", 2): 0.25,
    ("mri3d", 2): 0.2,
    ("sartaj", 2): 0.3,
    ("br35h", 2): 0.25,
    ("figshare_cleared", 2): 0.3,
    ("phantom", 2): 0.1,
    ("br35h", UNSPECIFIED): 0.2,
    ("carried", UNSPECIFIED): 0.2,
}
OTHER_SHARE = 0.1
SEED_OF_CHOICE = 20261123


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceSet:
    """Slices with what is known of them, all of length n.

    images: uint8 (n, 224, 224). outlines: uint8 (n, 28, 28), share of tumour in each 8 x 8 patch, 0..255.
    tumour: (n,) 0 or 1. kind: (n,) index in TYPE_CLASSES or UNSPECIFIED. outlined: (n,) whether `outlines` is known.
    dataset, patient: (n,) text.
    """

    images: NDArray[np.uint8]
    outlines: NDArray[np.uint8]
    tumour: NDArray[np.int8]
    kind: NDArray[np.int8]
    outlined: NDArray[np.bool_]
    dataset: NDArray[np.str_]
    patient: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    image: NDArray[np.float64]
    outline: NDArray[np.generic] | None
    tumour: bool
    kind: int
    dataset: str
    patient: str


def _pictures(folder: Path, split: str) -> Iterator[_Slice]:
    with (folder / "manifest.csv").open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["split"] == split]
    for row in rows:
        with Image.open(folder / row["file"]) as picture:
            image = np.asarray(picture.convert("L"), np.float64)
        outline = None
        if row["mask"]:
            with Image.open(folder / row["mask"]) as mask:
                outline = np.asarray(mask.convert("L"))
        kind = TYPE_CLASSES.index(row["class"]) if row["class"] in TYPE_CLASSES else UNSPECIFIED
        tumour = row["tumor"] == "1"
        if not tumour:
            outline = np.zeros(image.shape)
        yield _Slice(
            image=image,
            outline=outline,
            tumour=tumour,
            kind=kind,
            dataset=row["dataset"],
            patient=row["patient"] or row["group"],
        )


def read_packed_case(folder: Path) -> dict[str, NDArray[np.generic]]:
    """A packed case: {name: uint8 (I, J, K)}; slice k is tile divmod(k, columns) of each mosaic image.

    'affine' float64 (4, 4) to RAS+ mm; for stacks without one, that of an axial stack stored as displayed.
    """
    meta = json.loads((folder / "meta.json").read_text())
    rows, columns, slices = meta["shape"]
    across = meta["tiles"][1]
    arrays: dict[str, NDArray[np.generic]] = {}
    for path in sorted([*folder.glob("*.webp"), *folder.glob("*.png")]):
        with Image.open(path) as image:
            mosaic = np.asarray(image.convert("L") if path.suffix == ".webp" else image).astype(np.uint8)
        tiles = mosaic.reshape(-1, rows, across, columns).transpose(0, 2, 1, 3).reshape(-1, rows, columns)
        arrays[path.stem] = tiles[:slices].transpose(1, 2, 0)
    if "affine" in meta:
        arrays["affine"] = np.array(meta["affine"], float)
    return arrays


def _case_slices(
    case: dict[str, NDArray[np.generic]],
    label: str | None,
    contrasts: tuple[str, ...],
    name: str,
    dataset: str,
    tumour_count: int,
    clear_count: int,
) -> Iterator[_Slice]:
    """Slices of one case: some through much tumour, some well away from any."""
    rng = np.random.default_rng([SEED_OF_CHOICE, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    available = [contrast for contrast in contrasts if contrast in case]

    def displayed(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return radiological(array, case["affine"].astype(float)) if "affine" in case else array.transpose(2, 0, 1)

    anatomy = displayed(case[available[0]]).astype(np.uint8)
    mask = displayed(case[label]).astype(bool) if label else np.zeros(anatomy.shape, bool)
    tissue = np.count_nonzero(anatomy > 20, axis=(1, 2))
    area = np.count_nonzero(mask, axis=(1, 2))
    near = np.convolve(area > 0, np.ones(5), mode="same") > 0
    worth = tissue > 0.3 * tissue.max()
    with_tumour = np.flatnonzero(worth & (area >= max(25, 0.15 * area.max())))
    clear = np.flatnonzero(worth & ~near)
    for wanted, candidates, tumour in ((tumour_count, with_tumour, True), (clear_count, clear, False)):
        for k in rng.permutation(candidates)[:wanted]:
            contrast = available[int(rng.integers(len(available)))]
            yield _Slice(
                image=displayed(case[contrast])[k].astype(np.float64),
                outline=mask[k],
                tumour=tumour,
                kind=TYPE_CLASSES.index("glioma" if tumour else "notumor"),
                dataset=dataset,
                patient=name,
            )


def _volumes(root: Path) -> Iterator[_Slice]:
    """Slices from the 3D sets' training parts, so that a source says less about the answer."""
    for folder in sorted((root / "lgg_stacks" / "train").glob("TCGA*")):
        yield from _case_slices(
            read_packed_case(folder), "wt", ("flair", "flair", "t1ce"), f"tcga_{folder.name}", "lgg_stacks", 6, 6
        )
    for folder in sorted((root / "mri3d" / "full").iterdir()):
        if folder.name not in HELD_BACK and (folder / "meta.json").exists():
            yield from _case_slices(
                read_packed_case(folder), "seg", ("t1ce", "flair", "t2", "t1"), folder.name, "mri3d", 12, 8
            )
    for folder in sorted((root / "mri3d" / "partial").glob("NEG_*")):
        yield from _case_slices(
            read_packed_case(folder), None, ("t1ce", "flair", "t2", "t1"), folder.name, "mri3d", 0, 24
        )


def read_nifti_case(folder: Path) -> dict[str, NDArray[np.generic]]:
    """A case of NIfTI files named as BraTS names them, as `read_packed_case` gives one: uint8 series, 'affine', and
    'seg' where there is a label map."""
    files = find_case_files(folder)
    case: dict[str, NDArray[np.generic]] = {}
    for role, file in files.images.items():
        volume = load_nifti_volume(file)
        voxels = np.clip(volume.voxels / np.percentile(volume.voxels[volume.voxels > 0], 99.9), 0, 1)
        case[role.value.lower()] = np.round(voxels * 255).astype(np.uint8)
        case["affine"] = volume.grid.affine
    if files.labels is not None:
        case["seg"] = load_nifti_labels(files.labels)[0].astype(np.uint8)
    return case


def _phantoms(folder: Path) -> Iterator[_Slice]:
    """Slices of synthetic heads as the 3D network's extra cases: a folder a case."""
    for path in case_folders(folder):
        case = read_nifti_case(path)
        label = "seg" if "seg" in case else None
        yield from _case_slices(case, label, ("t1ce", "flair", "t2", "t1"), path.name, "phantom", 6, 6)


def read_slices(root: Path, split: str, phantoms: Path | None = None) -> SliceSet:
    """The slices of one split ('train', 'val' or 'test') below the data folder `root`; 'train' adds the 3D sets and
    the labelled cases below `phantoms`.

    Raises:
        FileNotFoundError: `root`/mri2d/manifest.csv is missing.
    """
    found = [*_pictures(root / "mri2d", split)]
    if split == "train":
        found += [*_volumes(root), *(_phantoms(phantoms) if phantoms else ())]
    images, outlines, kept = [], [], []
    for one in found:
        try:
            image, outline = model_slice_with_mask(one.image, one.outline)
        except InvalidVolume:
            continue
        images.append(np.round(image * 255).astype(np.uint8))
        outlines.append(np.round(outline.reshape(28, 8, 28, 8).mean((1, 3)) * 255).astype(np.uint8))
        kept.append(one)
    return SliceSet(
        images=np.stack(images),
        outlines=np.stack(outlines),
        tumour=np.array([one.tumour for one in kept], np.int8),
        kind=np.array([one.kind for one in kept], np.int8),
        outlined=np.array([one.outline is not None for one in kept]),
        dataset=np.array([one.dataset for one in kept]),
        patient=np.array([one.patient for one in kept]),
    )


def cached_slices(root: Path, split: str, cache: Path, phantoms: Path | None = None) -> SliceSet:
    """`read_slices`, kept in `cache`/<split>.npz after the first time. Delete the file after a change of the data."""
    path = cache / f"{split}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = read_slices(root, split, phantoms)
        partial = path.with_suffix(".part.npz")
        np.savez_compressed(partial, **vars(fresh))
        partial.replace(path)
    with np.load(path) as arrays:
        return SliceSet(**{name: arrays[name] for name in arrays.files})


def balanced_weights(slices: SliceSet) -> NDArray[np.float64]:
    """(n,) probability of drawing each slice: by `SHARES`, even inside one dataset's class."""
    weights = np.zeros(len(slices))
    for dataset, kind in {*zip(slices.dataset.tolist(), slices.kind.tolist(), strict=True)}:
        inside = (slices.dataset == dataset) & (slices.kind == kind)
        weights[inside] = SHARES.get((dataset, kind), OTHER_SHARE) / inside.sum()
    return np.asarray(weights / weights.sum())
