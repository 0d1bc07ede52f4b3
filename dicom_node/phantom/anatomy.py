"""The phantom's head: which tissue is where, as continuous functions of position in RAS mm.

The origin is the middle of the brain. `Head.tissues_on` draws the head on any grid with partial volume,
`Head.truth_on` reads the tumour's true compartments on any grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.brain import BrainFields, BrainNoise, brain_fields
from dicom_node.phantom.fields import generator, moved, slabs
from dicom_node.phantom.lesions import Lesion, labels_of, lesion_fields, lesion_window
from dicom_node.phantom.motion import rigid
from dicom_node.phantom.skull import SkullNoise, skull_layers
from dicom_node.phantom.tissues import Tissue
from pipeline.volume import FloatArray, Grid, LabelArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueMap:
    """At most two tissues a voxel. first, second: uint8 (I, J, K); share: float32 in [0, 1], the part of `second`."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    share: FloatArray

    def image(self, table: FloatArray) -> FloatArray:
        """Signal of every voxel from a table of signals by tissue number, float32 (I, J, K)."""
        first = table[self.first]
        return first + (table[self.second] - first) * self.share

    def paint(self, where: tuple[slice, ...], tissue: Tissue, inside_mm: FloatArray, soft_mm: float) -> None:
        """Cover the part `where` with `tissue`, in place, as far as its distance field reaches.

        A voxel on the border keeps, beside the new tissue, whichever of its two tissues was the larger.
        """
        if float(inside_mm.max()) <= -soft_mm / 2:
            return
        cover = np.clip(inside_mm * np.float32(1 / soft_mm) + np.float32(0.5), 0, 1)
        touched = cover > 0
        first, second, share = self.first[where], self.second[where], self.share[where]
        np.copyto(first, second, where=touched & (share > 0.5))
        np.copyto(second, np.uint8(tissue), where=touched)
        np.copyto(share, cover, where=touched)

    def part(self, planes: slice) -> TissueMap:
        """A view of some planes along the first axis: painting it paints this map."""
        return TissueMap(first=self.first[planes], second=self.second[planes], share=self.share[planes])


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """One patient's head, the same at every visit but for its lesions.

    canonical: (4, 4), patient RAS mm to the mm of the standard head (this head's size and tilt removed).
    """

    seed: int
    lesions: tuple[Lesion, ...] = ()
    canonical: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    ventricle_scale: float = 1.0

    def brain_on(self, grid: Grid) -> BrainFields:
        """Distances to the brain's surfaces on `grid`."""
        return brain_fields(moved(grid, self.canonical), BrainNoise.draw(self.seed), self.ventricle_scale)

    def tissues_on(self, grid: Grid, *, brain_only: bool = False) -> TissueMap:
        """The head on `grid`; `brain_only` leaves out everything outside the brain's own outline."""
        soft = float(np.mean(grid.spacing_mm))
        drawn = TissueMap(
            first=np.zeros(grid.shape, np.uint8),
            second=np.zeros(grid.shape, np.uint8),
            share=np.zeros(grid.shape, np.float32),
        )
        for planes, slab in slabs(grid):
            self._draw(drawn.part(planes), slab, soft, brain_only)
        return drawn

    def _draw(self, drawn: TissueMap, grid: Grid, soft: float, brain_only: bool) -> None:
        everywhere = (slice(None),) * 3
        brain = self.brain_on(grid)
        if not brain_only:
            layers = skull_layers(moved(grid, self.canonical), brain.outline, SkullNoise.draw(self.seed))
            for tissue, inside in layers:
                drawn.paint(everywhere, tissue, inside, soft)
        drawn.paint(everywhere, Tissue.CSF, brain.outline + np.float32(0.5 if brain_only else 2.5), soft)
        drawn.paint(everywhere, Tissue.GREY, brain.matter, soft)
        drawn.paint(everywhere, Tissue.WHITE, brain.white, soft)
        drawn.paint(everywhere, Tissue.DEEP_GREY, brain.deep_grey, soft)
        drawn.paint(everywhere, Tissue.CSF, brain.ventricles, soft)
        drawn.paint(everywhere, Tissue.BLOOD, brain.vessels, soft)
        for lesion in self.lesions:
            self._paint_lesion(drawn, lesion, grid, brain, soft)

    def _paint_lesion(self, drawn: TissueMap, lesion: Lesion, grid: Grid, brain: BrainFields, soft: float) -> None:
        part = lesion_window(lesion, grid)
        if part is None:
            return
        where, box = part
        found = lesion_fields(lesion, box, brain.outline[where], brain.tissue[where], brain.white[where])
        drawn.paint(where, Tissue.OEDEMA, found.oedema, soft)
        drawn.paint(where, Tissue.ENHANCING, found.core, soft)
        drawn.paint(where, Tissue.NECROSIS, found.necrosis, soft)

    def truth_on(self, grid: Grid) -> LabelArray:
        """The true label at every voxel centre: 0, 1 NCR, 2 ED, 4 ET; uint8 (I, J, K)."""
        labels = np.zeros(grid.shape, np.uint8)
        for lesion in self.lesions:
            part = lesion_window(lesion, grid)
            if part is None:
                continue
            where, box = part
            brain = self.brain_on(box)
            found = labels_of(lesion_fields(lesion, box, brain.outline, brain.tissue, brain.white))
            # Oedema of one lesion does not cover the core of another; later cores do, as they are drawn later.
            keep = (found == 0) | ((found == 2) & (labels[where] != 0))
            labels[where] = np.where(keep, labels[where], found)
        return labels

    def brain_mask_on(self, grid: Grid) -> LabelArray:
        """1 inside the brain's outline (sulci and ventricles included), else 0; uint8 (I, J, K)."""
        mask = np.zeros(grid.shape, np.uint8)
        for planes, slab in slabs(grid):
            mask[planes] = self.brain_on(slab).outline > -0.5
        return mask


def make_head(seed: int, lesions: tuple[Lesion, ...] = (), *, tilt_deg: float = 4.0, size_spread: float = 0.04) -> Head:
    """A head of its own size, tilt, folds and ventricles; the same for the same seed."""
    rng = generator(seed, "head")
    size = 1 + np.clip(rng.standard_normal(3), -2, 2) * size_spread / 2
    tilt = rigid(rng.uniform(-tilt_deg, tilt_deg, 3), (0.0, 0.0, 0.0))
    stretch = np.diag([*size, 1.0])
    return Head(
        seed=seed,
        lesions=lesions,
        canonical=np.asarray(np.linalg.inv(tilt @ stretch), dtype=np.float64),
        ventricle_scale=float(rng.uniform(0.85, 1.45)),
    )


def site_in_brain(head: Head, seed: int) -> tuple[float, float, float]:
    """A random place in a cerebral hemisphere, off the midline and within the brain, RAS mm."""
    rng = generator(seed, "site")
    while True:
        point = rng.uniform((-50, -62, -12), (50, 60, 52))
        if abs(point[0]) < 14:
            continue
        patient = np.linalg.inv(head.canonical) @ np.append(point, 1.0)
        spot = Grid(shape=(1, 1, 1), affine=rigid((0.0, 0.0, 0.0), patient[:3]))
        if 12 < float(head.brain_on(spot).outline[0, 0, 0]) < 45:
            return float(patient[0]), float(patient[1]), float(patient[2])
