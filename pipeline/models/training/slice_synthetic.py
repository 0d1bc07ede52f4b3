"""Made-up slices that part the tumour from its source: tumours taken out of one picture and carried into another.

In the figshare set every slice has a tumour and in Sartaj's none, so that the look of a picture alone tells the answer.
Both kinds of picture made here have the same blended edge, so that the edge tells nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models.training.slice_data import TYPE_CLASSES, UNSPECIFIED, SliceSet

#: Least correlation of a head with its mirror image, away from the tumour, for the other half to stand in.
LEAST_SYMMETRY = 0.75
#: Most of the tumour that may lie on its own mirror image.
MOST_OVERLAP = 0.1
CLEARED = "figshare_cleared"
CARRIED = "carried"
EXCHANGED = "figshare_exchanged"
#: Donors of one kind whose heads are likest to a host's, of which one is drawn.
LIKEST_DONORS = 12
#: Where a carried tumour comes from: the kinds whose place in the head is not their mark.
DONOR_KINDS = (TYPE_CLASSES.index("glioma"), TYPE_CLASSES.index("meningioma"))

Picture = NDArray[np.float32]


def with_synthetic(slices: SliceSet, seed: int) -> SliceSet:
    """`slices` and, behind them, those made from them."""
    rng = np.random.default_rng([seed, 7])
    free = cleared(slices)
    return joined([slices, free, carried(slices, rng), exchanged(slices, free, rng)])


def joined(parts: list[SliceSet]) -> SliceSet:
    """One set after the other."""
    return SliceSet(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def cleared(slices: SliceSet) -> SliceSet:
    """The figshare slices whose tumour lies to one side of a symmetric head, with the healthy side in its place."""
    rows = np.flatnonzero((slices.dataset == "figshare") & np.isin(slices.kind, DONOR_KINDS))
    kept, images = [], []
    for row in rows:
        image = without_tumour(slices.images[row].astype(np.float32) / 255, cover(slices.outlines[row], 224))
        if image is not None:
            kept.append(row)
            images.append(image)
    chosen = _rows(slices, np.array(kept, int))
    return replace(
        chosen,
        images=_as_uint8(images, slices),
        outlines=np.zeros_like(chosen.outlines),
        tumour=np.zeros_like(chosen.tumour),
        kind=np.full_like(chosen.kind, TYPE_CLASSES.index("notumor")),
        dataset=np.full(len(kept), CLEARED),
    )


def carried(slices: SliceSet, rng: np.random.Generator) -> SliceSet:
    """Slices without tumour that took one from another picture, where it lay there; its type is left unstated."""
    donors = np.flatnonzero(np.isin(slices.kind, DONOR_KINDS) & slices.outlined)
    hosts = np.flatnonzero((slices.tumour == 0) & (slices.dataset != "phantom"))
    kept, origins, images = [], [], []
    for host in hosts:
        for donor in rng.permutation(donors)[:4]:
            outline = cover(slices.outlines[donor], 224)
            image = with_tumour(
                slices.images[host].astype(np.float32) / 255, slices.images[donor].astype(np.float32) / 255, outline
            )
            if image is not None:
                kept.append(host)
                origins.append(donor)
                images.append(image)
                break
    chosen = _rows(slices, np.array(kept, int))
    return replace(
        chosen,
        images=_as_uint8(images, slices),
        outlines=slices.outlines[np.array(origins, int)],
        tumour=np.ones_like(chosen.tumour),
        kind=np.full_like(chosen.kind, UNSPECIFIED),
        dataset=np.full(len(kept), CARRIED),
    )


def exchanged(slices: SliceSet, hosts: SliceSet, rng: np.random.Generator) -> SliceSet:
    """`hosts` (of `cleared`), each with a tumour of every kind of `DONOR_KINDS` out of another patient's head that is
    cut alike, the kind stated: what a figshare head looks like then says nothing about the kind in it."""
    thumbnails = {id(one): _thumbnails(one) for one in (slices, hosts)}
    kept, origins, images = [], [], []
    for host in range(len(hosts)):
        for kind in DONOR_KINDS:
            donors = np.flatnonzero(
                (slices.dataset == "figshare") & (slices.kind == kind) & (slices.patient != hosts.patient[host])
            )
            likeness = thumbnails[id(slices)][donors] @ thumbnails[id(hosts)][host]
            for donor in rng.permutation(donors[np.argsort(-likeness)[:LIKEST_DONORS]])[:3]:
                image = with_tumour(
                    hosts.images[host].astype(np.float32) / 255,
                    slices.images[donor].astype(np.float32) / 255,
                    cover(slices.outlines[donor], 224),
                )
                if image is not None:
                    kept.append(host)
                    origins.append(donor)
                    images.append(image)
                    break
    chosen, given = _rows(hosts, np.array(kept, int)), _rows(slices, np.array(origins, int))
    return replace(
        chosen,
        images=_as_uint8(images, slices),
        outlines=given.outlines,
        tumour=np.ones_like(chosen.tumour),
        kind=given.kind,
        dataset=np.full(len(kept), EXCHANGED),
    )


def _thumbnails(slices: SliceSet) -> NDArray[np.float32]:
    """(n, 256) heads at 16 x 16, of mean 0 and length 1: their product is a correlation."""
    flat = slices.images.reshape(-1, 16, 14, 16, 14).mean((2, 4), dtype=np.float32).reshape(-1, 256)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


def cover(outline: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """(size, size) tumour area of an outline (n, n) 0..255 in patches, its rim included."""
    patch = size // outline.shape[0]
    return np.asarray(np.kron(outline > 12, np.ones((patch, patch), bool)))


def without_tumour(image: Picture, area: NDArray[np.bool_]) -> Picture | None:
    """`image` (s, s) with `area` filled from the mirrored head; None where no fitting mirror image is found."""
    mirror = best_mirror(image, area)
    if mirror is None:
        return None
    edge = _soft(area)
    return np.asarray(image * (1 - edge) + mirror * edge, np.float32)


def with_tumour(host: Picture, donor: Picture, area: NDArray[np.bool_]) -> Picture | None:
    """`host` with the donor's `area` blended in at the surroundings' brightness; None where it would leave the head."""
    ring = ndimage.binary_dilation(area, iterations=8) & ~area
    inside = ndimage.gaussian_filter(host, 3) > 0.12
    if area.sum() < 100 or inside[area].mean() < 0.97 or donor[ring].mean() < 0.05:
        return None
    gain = float(np.clip(host[ring].mean() / donor[ring].mean(), 0.5, 2.0))
    edge = _soft(area)
    return np.asarray(np.clip(host * (1 - edge) + donor * gain * edge, 0, 1), np.float32)


def best_mirror(image: Picture, area: NDArray[np.bool_]) -> Picture | None:
    """The left-right mirror image that fits best among small shifts and turns, or None (see `LEAST_SYMMETRY`)."""
    # Averaged over squares, not sampled: the small picture then has the same middle as the large one.
    small, hidden = _averaged(image), _averaged(area.astype(np.float32)) > 0.5
    flipped, flipped_area = small[:, ::-1], hidden[:, ::-1]
    best = (0.0, 0.0, 0)
    for degrees in (-8.0, -4.0, 0.0, 4.0, 8.0):
        turned = ndimage.rotate(flipped, degrees, reshape=False, order=1)
        turned_area = ndimage.rotate(flipped_area.astype(np.float32), degrees, reshape=False, order=1) > 0.3
        for shift in range(-3, 4):
            moved, moved_area = np.roll(turned, shift, 1), np.roll(turned_area, shift, 1)
            if (moved_area & hidden).sum() > MOST_OVERLAP * hidden.sum():
                continue
            seen = ~(hidden | moved_area) & ((small > 0.05) | (moved > 0.05))
            fit = float(np.corrcoef(small[seen], moved[seen])[0, 1])
            best = max(best, (fit, degrees, shift))
    if best[0] < LEAST_SYMMETRY:
        return None
    turned = ndimage.rotate(image[:, ::-1], best[1], reshape=False, order=1)
    return np.asarray(np.roll(turned, 4 * best[2], 1), np.float32)


def _averaged(image: Picture) -> Picture:
    rows, columns = image.shape
    return np.asarray(image.reshape(rows // 4, 4, columns // 4, 4).mean((1, 3)), np.float32)


def _soft(area: NDArray[np.bool_]) -> Picture:
    return np.asarray(ndimage.gaussian_filter(ndimage.binary_dilation(area, iterations=3).astype(np.float32), 3))


def _rows(slices: SliceSet, rows: NDArray[np.intp]) -> SliceSet:
    return SliceSet(**{name: values[rows] for name, values in vars(slices).items()})


def _as_uint8(images: list[Picture], like: SliceSet) -> NDArray[np.uint8]:
    if not images:
        return np.zeros((0, *like.images.shape[1:]), np.uint8)
    return np.round(np.stack(images) * 255).clip(0, 255).astype(np.uint8)
