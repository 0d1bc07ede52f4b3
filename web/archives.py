"""Unpacking an uploaded zip: members are streamed out one at a time, their names are never used."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from storage.spool import SpoolFile

_BLOCK_BYTES = 1024 * 1024
_DIRECTORY_BYTES_PER_MEMBER = 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveRefused(ValueError):
    """A zip that cannot be unpacked. The message says why."""


class ArchiveTooLarge(ArchiveRefused):
    """A zip with more members or more bytes than this node takes."""


def unpacked_members(
    archive: BinaryIO,
    *,
    new_file: Callable[[], AbstractContextManager[SpoolFile]],
    max_members: int,
    max_bytes: int,
) -> Iterator[tuple[int, SpoolFile]]:
    """Yield (number from 1, its bytes in a spool file) for each file in the archive; the spool file then goes.

    max_bytes: all members together as they are really unpacked, whatever the archive claims.

    Raises:
        ArchiveTooLarge: too many members or bytes. ArchiveRefused: damaged, encrypted or an unusual compression.
    """
    _check_directory(archive, max_members)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if len(members) > max_members:
                raise ArchiveTooLarge(f"the archive holds {len(members)} files; at most {max_members} are taken")
            if sum(member.file_size for member in members) > max_bytes:
                raise ArchiveTooLarge(f"the archive unpacks to more than {max_bytes} bytes")
            left = max_bytes
            for number, member in enumerate(members, start=1):
                if member.flag_bits & 1:
                    raise ArchiveRefused("the archive is encrypted; send it without a password")
                if member.compress_type not in _METHODS:
                    raise ArchiveRefused("the archive uses a compression other than deflate; write a plain zip")
                with new_file() as spool:
                    with opened.open(member) as source:
                        while block := source.read(_BLOCK_BYTES):
                            left -= len(block)
                            if left < 0:
                                raise ArchiveTooLarge(f"the archive unpacks to more than {max_bytes} bytes")
                            spool.write(block)
                    yield number, spool
    # NotImplementedError: zipfile's word for a kind of archive that it does not read.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise ArchiveRefused("the archive is damaged or is no zip") from error


def _check_directory(archive: BinaryIO, max_members: int) -> None:
    """Refuse an archive by its end record, before zipfile reads a directory of millions of names into memory."""
    archive.seek(0, os.SEEK_END)
    size = archive.tell()
    tail_start = max(0, size - 65_557 - 76)
    archive.seek(tail_start)
    tail = archive.read()
    archive.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise ArchiveRefused("the archive is damaged or is no zip")
    members, directory_bytes = struct.unpack_from("<HI", tail, end + 10)
    # With a zip64 locator before it, zipfile believes the zip64 record that lies before that.
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07" and tail[end - 76 : end - 72] == b"PK\x06\x06":
        members, directory_bytes = struct.unpack_from("<QQ", tail, end - 76 + 32)
    if members > 2 * max_members + 1000 or directory_bytes > (2 * max_members + 1000) * _DIRECTORY_BYTES_PER_MEMBER:
        raise ArchiveTooLarge(f"the archive lists {members} entries; at most {max_members} files are taken")
