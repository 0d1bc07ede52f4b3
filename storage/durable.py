"""File operations that last: what they say was done is on the disk, its name included. Errors in our words."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.errors import StorageError, StorageFault, StorageFull

FILE_MODE = 0o640
FOLDER_MODE = 0o750
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK = 1 << 20


@contextmanager
def faults_named(what: str, path: Path) -> Iterator[None]:
    """OSError becomes StorageFull or StorageFault. `what` says what was tried."""
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, what, path) from error


def as_storage_error(error: OSError, what: str, path: Path) -> StorageError:
    """Our word for an operating system's error. Names of the store hold no patient data."""
    if error.errno in _FULL:
        return StorageFull(f"{what}: no space left for {path.name}; free some, receiving goes on by itself")
    return StorageFault(f"{what}: {error.strerror or error} ({path.name})", path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def write_replacing(path: Path, data: bytes, spool: Path) -> None:
    """Put `data` at `path` in one step: readers see the old file or the new one, and after a crash one of the two.

    Args:
        spool: a path on the same file system that nobody else uses; gone afterwards, whatever happens.

    Raises:
        StorageFull, StorageFault: `path` is as it was.
    """
    with faults_named("writing a file", path):
        try:
            handle = os.open(spool, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
            try:
                # Held until the file has its name: a sweep of the spool takes what nobody holds.
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(handle, FILE_MODE)
                write_all(handle, data)
                os.fsync(handle)
                os.replace(spool, path)
            finally:
                os.close(handle)
        except OSError:
            with suppress(OSError):
                spool.unlink()
            raise
        sync_folder(path.parent)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
