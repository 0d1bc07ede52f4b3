"""Phantom cases as NIfTI in the layout of BraTS: one position, one isotropic grid, four contrasts, labels."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.anatomy import Head, make_head, site_in_brain
from dicom_node.phantom.contrast import PulseSequence, signal_table
from dicom_node.phantom.fields import generator
from dicom_node.phantom.imaging import Imperfections, receive, texture_on
from dicom_node.phantom.lesions import Lesion, draw_lesion
from dicom_node.phantom.tissues import patient_tissues
from pipeline.volume import FloatArray, Grid, LabelArray, SeriesRole

#: As much as any phantom brain, or any phantom head, needs: low and high corner, RAS mm.
_BRAIN_BOX = ((-78, -96, -78), (78, 96, 80))
_HEAD_BOX = ((-88, -108, -95), (88, 112, 95))
#: Signal of white matter in the stored integers.
_WHITE_LEVEL = 600


@dataclass(frozen=True, kw_only=True, eq=False)
class BratsCase:
    """images: float32 (I, J, K) by role, on `grid`; labels: uint8, 0/1/2/4, on the same grid."""

    head: Head
    grid: Grid
    images: dict[SeriesRole, FloatArray]
    labels: LabelArray


def _sequences(rng: np.random.Generator) -> dict[SeriesRole, PulseSequence]:
    def about(value: float, spread: float = 0.1) -> float:
        return float(value * rng.uniform(1 - spread, 1 + spread))

    inversion = about(900)
    t1 = PulseSequence(
        kind="mprage", repetition_ms=2300, echo_ms=2.5, inversion_ms=inversion, flip_deg=about(9), train=160
    )
    if rng.random() < 0.4:
        t1 = PulseSequence(kind="se", repetition_ms=about(550, 0.2), echo_ms=about(10))
    after = replace(t1, gadolinium=float(rng.uniform(0.8, 1.4)))
    repetition = about(9000)
    return {
        SeriesRole.T1: t1,
        SeriesRole.T1CE: after,
        SeriesRole.T2: PulseSequence(kind="se", repetition_ms=about(5000, 0.2), echo_ms=about(95)),
        SeriesRole.FLAIR: PulseSequence(
            kind="flair",
            repetition_ms=repetition,
            echo_ms=about(95, 0.15),
            inversion_ms=about(0.275 * repetition, 0.03),
        ),
    }


def draw_lesions(head: Head, seed: int) -> tuple[Lesion, ...]:
    """One to three lesions of random place, size and kind; about one patient in eight has none that enhances."""
    rng = generator(seed, "lesions")
    count = int(rng.choice((1, 2, 3), p=(0.78, 0.15, 0.07)))
    enhancing = bool(rng.random() > 0.12)
    places = [site_in_brain(head, seed * 8 + n) for n in range(count)]
    return tuple(draw_lesion(seed * 8 + n, place, enhancing=enhancing) for n, place in enumerate(places))


def make_brats_case(
    seed: int, spacing_mm: float = 1.0, *, skull_stripped: bool = True, tumour: bool = True
) -> BratsCase:
    """A co-registered case: four contrasts on one axis-aligned RAS grid of `spacing_mm`, and its true labels."""
    rng = generator(seed, "brats case")
    head = make_head(seed)
    if tumour:
        head = make_head(seed, draw_lesions(head, seed))
    low, high = (np.asarray(corner, float) for corner in (_BRAIN_BOX if skull_stripped else _HEAD_BOX))
    i, j, k = (int(n) for n in np.floor((high - low) / spacing_mm) + 1)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    grid = Grid(shape=(i, j, k), affine=affine)
    drawn = head.tissues_on(grid, brain_only=skull_stripped)
    tissues = patient_tissues(seed, 0.06)
    flaws = Imperfections(
        noise=float(rng.uniform(0.01, 0.05)), bias=float(rng.uniform(0.03, 0.2)), texture=float(rng.uniform(0.01, 0.05))
    )
    texture = texture_on(grid, generator(seed, "texture"), flaws.texture)
    images: dict[SeriesRole, FloatArray] = {}
    for role, sequence in _sequences(rng).items():
        image = drawn.image(signal_table(sequence, tissues)) * texture
        images[role] = receive(image, grid, generator(seed, "receive", role), flaws)
    if skull_stripped:
        outside = head.brain_mask_on(grid) == 0
        for image in images.values():
            image[outside] = 0
    return BratsCase(head=head, grid=grid, images=images, labels=head.truth_on(grid))


def write_brats_case(
    folder: Path, seed: int, spacing_mm: float = 1.0, skull_stripped: bool = True, tumour: bool = True
) -> Path:
    """Write the case of `seed` to `folder`/phantom_SEED/ and return that folder.

    Files: phantom_SEED_{t1,t1ce,t2,flair}.nii.gz (int16), phantom_SEED_seg.nii.gz (uint8; 0, 1 NCR, 2 ED, 4 ET) and
    meta.json. Stripped of the skull, the outside is exactly 0.
    """
    case = make_brats_case(seed, spacing_mm, skull_stripped=skull_stripped, tumour=tumour)
    name = f"phantom_{seed:05d}"
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    for role, image in case.images.items():
        stored = np.clip(np.rint(image * _WHITE_LEVEL), 0, 32767).astype(np.int16)
        _save(stored, case.grid, target / f"{name}_{role.lower()}.nii.gz")
    _save(case.labels, case.grid, target / f"{name}_seg.nii.gz")
    volumes = {str(label): float((case.labels == label).sum() * case.grid.voxel_volume_ml) for label in (1, 2, 4)}
    meta = {"source": "phantom", "seed": seed, "spacing_mm": spacing_mm, "skull_stripped": skull_stripped}
    text = json.dumps({**meta, "tumour": tumour, "volumes_ml": volumes}, indent=1)
    (target / "meta.json").write_text(text + "\n", encoding="utf-8")
    return target


def _save(voxels: NDArray[np.int16] | LabelArray, grid: Grid, path: Path) -> None:
    image = nib.Nifti1Image(voxels, grid.affine)
    image.header.set_xyzt_units("mm")
    # Level 1 takes a third of the time of the library's default and a tenth more room.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
