"""Is an uploaded file the NIfTI volume its header claims? Read as a stream, never unpacked to disk or into memory."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

_BLOCK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 1024
_LARGEST_SIDE = 2048
_TRAILING_BYTES = 64 * 1024


class NiftiRefused(ValueError):
    """A file that is no usable NIfTI volume. The message says what is wrong with it."""


class NiftiTooLarge(NiftiRefused):
    """A file that is, or claims to be, larger than this node takes."""


def is_gzip(file: BinaryIO) -> bool:
    """True where the file starts as gzip does, whatever its name says. Leaves the file at its start."""
    file.seek(0)
    magic = file.read(2)
    file.seek(0)
    return magic == _GZIP_MAGIC


def check_nifti(file: BinaryIO, *, max_bytes: int) -> tuple[int, int, int]:
    """Check one .nii or .nii.gz file to its last byte and return its shape (I, J, K).

    max_bytes: largest size after decompression. Memory used is a few blocks, whatever the file claims.

    Raises:
        NiftiTooLarge: the header claims, or the data hold, more than `max_bytes`.
        NiftiRefused: no single-file NIfTI, not three-dimensional, an unusable affine, fewer or more bytes than its
            header claims, or a damaged gzip stream.
    """
    blocks = _inflated(file) if is_gzip(file) else _plain(file)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _HEADER_BYTES:
            break
    header = _header(head)
    shape = _shape(header)
    _check_affine(header)
    offset = max(int(header.get_data_offset()), int(header["sizeof_hdr"]) + 4)
    expected = offset + int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    if expected > max_bytes:
        raise NiftiTooLarge(f"the header claims {expected} bytes; this node takes at most {max_bytes}")
    total = 0
    for block in itertools.chain((head,), blocks):
        behind = block[max(0, expected - total) :]
        total += len(block)
        # Padding is harmless; anything else may be a second file that acts elsewhere.
        if total > expected + _TRAILING_BYTES or behind.strip(b"\0"):
            raise NiftiRefused("the file holds more bytes than its header claims")
    if total < expected:
        raise NiftiRefused(f"the file holds {total} bytes where its header claims {expected}: it was cut off")
    return shape


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The gzip stream, member by member, in blocks of at most 1 MiB, so that a bomb costs no memory."""
    inflater = zlib.decompressobj(wbits=31)
    pending = b""
    try:
        while True:
            pending = pending or file.read(_BLOCK_BYTES)
            if not pending:
                break
            if inflater.eof:
                if not pending.startswith(_GZIP_MAGIC):
                    if pending.strip(b"\0"):
                        raise NiftiRefused("something follows the end of the compressed data")
                    pending = b""
                    continue
                inflater = zlib.decompressobj(wbits=31)
            block = inflater.decompress(pending, _BLOCK_BYTES)
            pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if block:
                yield block
    except zlib.error as error:
        raise NiftiRefused("the compressed data are damaged") from error
    if not inflater.eof:
        raise NiftiRefused("the compressed data end too early: the file was cut off")


def _header(head: bytes) -> nib.Nifti1Header:
    for kind, size in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        if len(head) < size or not kind.may_contain_header(head):
            continue
        if size not in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
            raise NiftiRefused("the file begins as something other than NIfTI")
        try:
            header = kind.from_fileobj(io.BytesIO(head), check=True)
            if header["magic"].item() not in (b"n+1", b"n+2"):
                raise NiftiRefused("the header belongs to a .hdr/.img pair; send single .nii or .nii.gz files")
            if header.get_data_dtype().kind not in "iuf":
                raise NiftiRefused("the voxels are not plain numbers (colour or complex data)")
        except (HeaderDataError, HeaderTypeError, ValueError, KeyError) as error:
            if isinstance(error, NiftiRefused):
                raise
            raise NiftiRefused("the NIfTI header is not valid") from error
        return header
    raise NiftiRefused("this is no NIfTI file")


def _shape(header: nib.Nifti1Header) -> tuple[int, int, int]:
    count = int(header["dim"][0])
    sides = [int(side) for side in header["dim"][1 : count + 1]]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if len(sides) != 3:
        raise NiftiRefused(f"the image has {len(sides)} dimensions; one series is one three-dimensional volume")
    if min(sides) < 2 or max(sides) > _LARGEST_SIDE:
        raise NiftiRefused(
            f"the image measures {' x '.join(map(str, sides))} voxels; sides of 2 to {_LARGEST_SIDE} are taken"
        )
    return sides[0], sides[1], sides[2]


def _check_affine(header: nib.Nifti1Header) -> None:
    try:
        qform, qform_code = header.get_qform(coded=True)
        sform, sform_code = header.get_sform(coded=True)
    except (np.linalg.LinAlgError, HeaderDataError, ValueError) as error:
        raise NiftiRefused("the header's orientation is not valid") from error
    if not sform_code and not qform_code:
        raise NiftiRefused("neither sform nor qform is set, so left and right are unknown; convert the series again")
    affine = np.asarray(sform if sform_code else qform, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise NiftiRefused("the header's orientation holds NaN or infinite numbers")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if min(spacing) < 1e-3 or max(spacing) > 100 or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise NiftiRefused("the header's orientation is singular or its voxels have no sensible size in mm")
    if not np.allclose(spacing, np.abs(header.get_zooms()[:3]), rtol=0.02, atol=1e-3):
        raise NiftiRefused(
            "the header states voxel sizes other than those of its orientation; convert the series again"
        )
    # A scanner space and a template space (other codes) may differ by a rotation; two accounts of one space may not.
    if sform_code == qform_code and np.isfinite(qform).all():
        lengths = spacing * np.linalg.norm(qform[:3, :3], axis=0)
        if (np.sum(affine[:3, :3] * qform[:3, :3], axis=0) < 0.5 * lengths).any():
            raise NiftiRefused("sform and qform disagree on the orientation; convert the series again")
