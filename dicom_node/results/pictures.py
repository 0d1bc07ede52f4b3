"""Pictures of a result: overlay panels on three planes with orientation letters, and a montage with its legend.

Drawn without a clock or a system font, so that the same run gives the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.overlay import LABEL_COLOURS, Plane, overlay_slice, slice_count, slice_index
from pipeline.report import Report, Segmentation
from pipeline.volume import Grid, LabelArray, Volume

FONTS = Path(__file__).parent / "fonts"
#: What stands at the left, right, top and bottom edge of each plane's picture (`grayscale_slice`).
_LETTERS = {Plane.AXIAL: "RLAP", Plane.CORONAL: "RLSI", Plane.SAGITTAL: "APSI"}
_PANEL = 384
_MARGIN = 14
_WHITE, _GREY = (255, 255, 255), (170, 170, 170)


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One picture: uint8 (384, 384, 3), its plane, and which slice of it, from 0, of how many."""

    pixels: NDArray[np.uint8]
    plane: Plane
    index: int
    count: int

    def png(self) -> bytes:
        """As a PNG file."""
        return png(self.pixels)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """RGB pixels (H, W, 3) as a PNG file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def labels_of(report: Report) -> LabelArray | None:
    """The labels, where anything was segmented."""
    segmentation = report.segmentation
    return segmentation.labels if isinstance(segmentation, Segmentation) and segmentation.labels.any() else None


def three_planes(report: Report, volume: Volume) -> tuple[Panel, ...]:
    """Axial, coronal and sagittal through the middle of the largest lesion; through the middle of the series else."""
    labels = labels_of(report)
    point = _middle(report, volume.grid)
    return tuple(panel(volume, labels, plane, slice_index(volume.grid, plane, point)) for plane in Plane)


def panel(volume: Volume, labels: LabelArray | None, plane: Plane, index: int) -> Panel:
    """One slice, as large as the panel allows, with the letters of the patient's sides."""
    picture = Image.fromarray(overlay_slice(volume, labels, plane, index))
    scale = (_PANEL - 2 * _MARGIN) / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    canvas = Image.new("RGB", (_PANEL, _PANEL))
    corner = ((_PANEL - size[0]) // 2, (_PANEL - size[1]) // 2)
    canvas.paste(picture.resize(size, Image.Resampling.BILINEAR), corner)
    draw, middle = ImageDraw.Draw(canvas), _PANEL // 2
    places = ((3, middle, "lm"), (_PANEL - 3, middle, "rm"), (middle, 2, "mt"), (middle, _PANEL - 3, "mb"))
    for letter, (x, y, anchor) in zip(_LETTERS[plane], places, strict=True):
        draw.text((x, y), letter, fill=_WHITE, font=font(13, bold=True), anchor=anchor)
    return Panel(pixels=np.asarray(canvas), plane=plane, index=index, count=slice_count(volume.grid, plane))


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that travels with the node, so that no system's fonts change a picture."""
    return ImageFont.truetype(str(FONTS / f"DejaVuSans{'-Bold' if bold else ''}.ttf"), size)


def montage(report: Report, volume: Volume, title: str, notice: str, names: dict[str, str]) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): three planes, six axial slices through the tumour, a legend, and the notice.

    names: what the legend calls each label, and each plane.
    """
    labels = labels_of(report)
    panels = [*three_planes(report, volume), *_through(volume, labels)]
    head, foot = 34, 58
    rows = -(-len(panels) // 3)
    canvas = Image.new("RGB", (3 * _PANEL, head + rows * _PANEL + foot))
    draw = ImageDraw.Draw(canvas)
    draw.text((10, head // 2), title, fill=_WHITE, font=font(16, bold=True), anchor="lm")
    for number, one in enumerate(panels):
        x, y = number % 3 * _PANEL, head + number // 3 * _PANEL
        canvas.paste(Image.fromarray(one.pixels), (x, y))
        told = f"{names.get(one.plane, one.plane)} {one.index + 1}/{one.count}"
        draw.text((x + 6, y + 4), told, fill=_GREY, font=font(11))
    _legend(draw, names, head + rows * _PANEL + 6)
    draw.text((10, canvas.height - 20), notice, fill=(255, 210, 80), font=font(13, bold=True), anchor="lm")
    return np.asarray(canvas)


def _legend(draw: ImageDraw.ImageDraw, names: dict[str, str], y: int) -> None:
    x = 10
    for label, rgb in LABEL_COLOURS.items():
        draw.rectangle((x, y, x + 14, y + 14), fill=rgb)
        text = names.get(label.name, label.name)
        draw.text((x + 20, y + 7), text, fill=_WHITE, font=font(12), anchor="lm")
        x += 40 + round(draw.textlength(text, font=font(12)))


def _through(volume: Volume, labels: LabelArray | None) -> list[Panel]:
    """Six axial slices, evenly from the tumour's lowest to its highest; of the whole series where there is none."""
    count = slice_count(volume.grid, Plane.AXIAL)
    low, high = count // 5, count - 1 - count // 5
    if labels is not None:
        marked = np.argwhere(labels)
        ends = [volume.grid.affine @ (*corner, 1.0) for corner in _corners(marked)]
        heights = sorted(slice_index(volume.grid, Plane.AXIAL, list(end[:3])) for end in ends)
        low, high = heights[0], heights[-1]
    indices = dict.fromkeys(round(float(i)) for i in np.linspace(low, high, 6))
    return [panel(volume, labels, Plane.AXIAL, index) for index in indices]


def _corners(voxels: NDArray[np.int64]) -> list[tuple[float, float, float]]:
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    return [(i, j, k) for i in (low[0], high[0]) for j in (low[1], high[1]) for k in (low[2], high[2])]


def _middle(report: Report, grid: Grid) -> tuple[float, ...]:
    """The voxel of the largest lesion nearest to its centre, so that the picture shows tumour also where it is bent."""
    labels = labels_of(report)
    if labels is None:
        return tuple((grid.affine @ (*((n - 1) / 2 for n in grid.shape), 1.0))[:3])
    marked = np.argwhere(labels)
    places = marked @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = report.lesions[0].centroid_mm if report.lesions else places.mean(axis=0)
    return tuple(places[int(np.argmin(((places - np.asarray(centre)) ** 2).sum(axis=1)))])
