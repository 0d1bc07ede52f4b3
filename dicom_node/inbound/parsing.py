"""Bytes or a file to a pydicom Dataset, with every way a hostile or broken object can fail turned into one error."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dicom_node.inbound.refusals import ObjectUnreadable

#: PS3.10 section 7.1: a preamble of 128 bytes, here always zero, and the prefix.
PREAMBLE_AND_PREFIX = b"\x00" * 128 + b"DICM"

#: Implicit VR, all but the pixels big endian: of older GE scanners and archives.
GE_PRIVATE_IMPLICIT_BIG_ENDIAN = "1.2.840.113619.5.2"

#: A deflated data set may not grow past this while it is parsed (a deflate bomb grows a thousandfold).
MAX_INFLATED_BYTES = 1 << 30

#: A header, pixels left out, is a few hundred kB even with a thousand frames.
MAX_INFLATED_HEADER_BYTES = 64 << 20

# Values that break their VR's rules are common in real files; headers.py judges each where it is used.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


def parse_data_set(data: bytes, transfer_syntax_uid: str, *, stop_before_pixels: bool) -> Dataset:
    """A data set as it came over the network, without file meta information, to a Dataset that carries its syntax.

    Raises:
        ObjectUnreadable: truncated, nested too deep, inflating past the cap, or otherwise not a data set.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        limit = MAX_INFLATED_HEADER_BYTES if stop_before_pixels else MAX_INFLATED_BYTES
        data = _inflate(data, limit, stop_before_pixels)
        syntax = ExplicitVRLittleEndian
    return _parsed(BytesIO(data), syntax, transfer_syntax_uid, stop_before_pixels)


def _parsed(stream: BinaryIO, syntax: UID, transfer_syntax_uid: str, stop_before_pixels: bool) -> Dataset:
    dataset: Dataset | None
    try:
        implicit, little = _encoding(syntax)
        dataset = pydicom.filereader.read_dataset(
            stream, implicit, little, stop_when=_at_pixels if stop_before_pixels else None
        )
        # Elements are converted lazily; walking the top level here brings a broken nesting to light in this guard.
        for element in dataset.elements():
            _ = element.tag
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        dataset.set_original_encoding(implicit, little, dataset.original_character_set)
    except RecursionError:
        raise ObjectUnreadable("its sequences are nested too deep") from None
    except MemoryError:
        dataset = None
    except Exception as error:  # pydicom documents no closed set of errors for broken input
        raise ObjectUnreadable(type(error).__name__) from error
    if dataset is None:
        # Not in the handler: the error's frames hold what filled the memory, and to refuse it takes some.
        raise ObjectUnreadable(MemoryError.__name__)
    return dataset


def parse_file(path: Path, *, stop_before_pixels: bool) -> Dataset:
    """A Part-10 file to a Dataset.

    Raises:
        ObjectUnreadable: as for `parse_data_set`, and for a file without file meta information.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        syntax = read_meta(stream)
        if stop_before_pixels and syntax != DeflatedExplicitVRLittleEndian:
            # Only the header is read: the pixels may be gigabytes.
            return _parsed(stream, UID(syntax), syntax, stop_before_pixels)
        return parse_data_set(stream.read(), syntax, stop_before_pixels=stop_before_pixels)


def split_part10(data: bytes) -> tuple[str, bytes]:
    """A Part-10 file's transfer syntax UID and the bytes of its data set, unchanged.

    Raises:
        ObjectUnreadable: no DICM prefix, or file meta information that is broken or names no transfer syntax.
    """
    stream = BytesIO(data)
    syntax = read_meta(stream)
    return syntax, data[stream.tell() :]


def read_meta(stream: BinaryIO) -> str:
    """The transfer syntax a Part-10 file names; the stream is left at its data set. Raises ObjectUnreadable."""
    if stream.read(132)[128:] != b"DICM":
        raise ObjectUnreadable("it has no DICM prefix at byte 128: it is not a DICOM file")
    try:
        meta = pydicom.filereader.read_dataset(stream, False, True, stop_when=_after_group_2)
        return str(meta.TransferSyntaxUID)
    except Exception as error:  # pydicom documents no closed set of errors for broken input
        raise ObjectUnreadable("its file meta information is broken or names no transfer syntax") from error


def _encoding(syntax: UID) -> tuple[bool, bool]:
    """(implicit VR, little endian). A private syntax is taken as explicit little endian, save one we know.

    Raises:
        ValueError: the UID is not a transfer syntax's.
    """
    if syntax == GE_PRIVATE_IMPLICIT_BIG_ENDIAN:
        return True, False
    return (False, True) if syntax.is_private else (syntax.is_implicit_VR, syntax.is_little_endian)


def _at_pixels(tag: pydicom.tag.BaseTag, _vr: str | None, _length: int) -> bool:
    # (5600,0020) Spectroscopy Data and the whole of group 7FE0 (pixel, float pixel and double float pixel data).
    return tag.group >= 0x7FE0 or tag == 0x56000020


def _after_group_2(tag: pydicom.tag.BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 0x0002


def _inflate(data: bytes, limit: int, cut: bool) -> bytes:
    """Deflated bytes (RFC 1951, no zlib header) to plain ones; past `limit` cut them or refuse."""
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(data, limit)
    except zlib.error as error:
        raise ObjectUnreadable("its deflated data are broken") from error
    if inflater.unconsumed_tail and not cut:
        raise ObjectUnreadable(f"it inflates past {limit} bytes")
    return plain
