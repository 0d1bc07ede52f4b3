"""Stored values of one frame and the rule that turns them into image values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.attributes import Attributes
from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.refusals import Refusal

#: Voxels of one object, counted in Python ints before anything is allocated: 1 GiB as float32.
MAX_VOXELS = 1 << 28

_BITS_ALLOWED = (8, 16, 32)


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Image value = stored * slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0


def decode(dataset: Dataset, header: InstanceHeader) -> NDArray[np.generic]:
    """Stored values (frames, rows, columns), integer, of one parsed object; lossless and lossy syntaxes alike.

    Raises:
        SeriesRefused: NOT_AN_IMAGE, TOO_LARGE, PIXELS_INVALID, SYNTAX_UNSUPPORTED or UNDECODABLE.
    """

    def refuse(code: Refusal, reason: str) -> SeriesRefused:
        return SeriesRefused(code, header.series_instance_uid, f"instance {header.sop_instance_uid}: {reason}")

    a = Attributes(dataset)
    rows, columns, frames = header.rows or 0, header.columns or 0, header.number_of_frames
    bits, samples = a.integer("BitsAllocated") or 0, a.integer("SamplesPerPixel") or 1
    if not a.has("PixelData"):
        raise refuse(Refusal.NOT_AN_IMAGE, "it holds no integer pixel data")
    if min(rows, columns, frames) < 1 or bits not in _BITS_ALLOWED or samples != 1:
        raise refuse(
            Refusal.PIXELS_INVALID,
            f"{rows} rows, {columns} columns, {frames} frames, {bits} bits, {samples} samples a pixel cannot be used",
        )
    if rows * columns * frames > MAX_VOXELS:
        raise refuse(Refusal.TOO_LARGE, f"{rows} x {columns} x {frames} voxels are over the limit of {MAX_VOXELS}")
    syntax = UID(header.transfer_syntax_uid)
    expected = rows * columns * frames * bits // 8
    try:
        encapsulated = syntax.is_encapsulated
        if not encapsulated:
            if len(dataset.PixelData) < expected:
                raise refuse(Refusal.PIXELS_INVALID, f"{len(dataset.PixelData)} bytes where {expected} belong")
            # Trailing padding, beyond the one byte PS3.5 8.1.1 asks for, is common and harmless.
            dataset.PixelData = dataset.PixelData[: expected + expected % 2]
        if syntax.is_deflated:  # what was parsed of it is inflated
            syntax = ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = syntax
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError):  # pydicom's words for a syntax it knows no decoder for
        raise refuse(Refusal.SYNTAX_UNSUPPORTED, f"no decoder for transfer syntax {syntax}") from None
    if not decoder.is_available:
        raise refuse(Refusal.SYNTAX_UNSUPPORTED, f"the decoder for {syntax.name} is not installed")
    try:
        stored, _ = decoder.as_array(dataset, raw=True)
    except Exception as error:  # the codecs raise without a common base
        raise refuse(Refusal.UNDECODABLE, f"{syntax.name}: {type(error).__name__}") from error
    if stored.size != rows * columns * frames:
        raise refuse(Refusal.UNDECODABLE, f"{stored.size} voxels were decoded where {rows * columns * frames} belong")
    return np.asarray(stored).reshape(frames, rows, columns)


def rescales_of(dataset: Dataset, header: InstanceHeader) -> tuple[Rescale, ...]:
    """The rescale of each frame of one object; identity where it is absent or not a usable number."""
    if header.frames:
        return tuple(_usable(*f.rescale) if f.rescale else Rescale() for f in header.frames)
    a = Attributes(dataset)
    slope, intercept = a.number("RescaleSlope"), a.number("RescaleIntercept")
    return (Rescale() if slope is None else _usable(slope, intercept or 0.0),)


def philips_scale_slope(dataset: Dataset) -> float | None:
    """Philips' private Scale Slope (2005,xx0E) of a classic object, where it is a positive number."""
    try:
        value = dataset.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value
        slope = float(value)
    except (KeyError, TypeError, ValueError):
        return None
    return slope if math.isfinite(slope) and slope > 0 else None


def consistent_rescales(
    rescales: Sequence[Rescale], philips_slopes: Sequence[float | None]
) -> tuple[tuple[Rescale, ...], str | None]:
    """Rescales that put every slice of a series on one scale, and a note where that took more than the header's own.

    Philips may scale each slice apart. Then display values (stored * slope + intercept) differ in gain from slice to
    slice, and the floating point value is display / (slope * scale slope) (Chenevert et al., 2014).
    """
    uneven = len({(r.slope, r.intercept) for r in rescales}) > 1
    if uneven and all(s is not None for s in philips_slopes):
        scaled = tuple(
            Rescale(slope=1.0 / s, intercept=r.intercept / (r.slope * s))
            for r, s in zip(rescales, philips_slopes, strict=True)
            if s is not None
        )
        return scaled, "slices scaled apart by the scanner: Philips' floating point values were used"
    return tuple(rescales), "slices carry different rescale values, each applied to its own slice" if uneven else None


def _usable(slope: float, intercept: float) -> Rescale:
    return Rescale(slope=slope, intercept=intercept) if slope != 0.0 else Rescale()
