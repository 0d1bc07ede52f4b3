"""Files on their way in: written aside under a name nobody reads, locked by whoever writes them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from storage.durable import FILE_MODE, as_storage_error, write_all
from storage.errors import StorageFault

SUFFIX = ".part"
_CHUNK = 1 << 20


class SpoolFile:
    """One file being received. As a context manager it removes itself unless it was committed.

    `size` in bytes and `sha256` (hex) cover what was written so far. One thread writes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        self.size = 0
        self._digest = hashlib.sha256()
        self._handle = -1
        try:
            self._handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
            # The lock tells a sweep, here or in another process, that somebody is at work on it.
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self._handle, FILE_MODE)
        except OSError as error:
            self.discard()
            raise as_storage_error(error, "beginning a file", self.path) from error

    @classmethod
    def of_file(cls, folder: Path, path: Path) -> SpoolFile:
        """A complete file under a second name, with its size and hash. Raises StorageFull, StorageFault."""
        spool = cls.__new__(cls)
        spool.path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        spool.size, spool._digest, spool._handle = 0, hashlib.sha256(), -1
        try:
            os.link(path, spool.path)
            spool._handle = os.open(spool.path, os.O_RDWR | os.O_CLOEXEC)
            # Where its writer still holds the lock, which is the file's and not the name's, no sweep takes it either.
            with suppress(BlockingIOError):
                fcntl.flock(spool._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            while chunk := os.read(spool._handle, _CHUNK):
                spool._digest.update(chunk)
                spool.size += len(chunk)
        except OSError as error:
            spool.discard()
            raise as_storage_error(error, "reading a received file", path) from error
        return spool

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far, hex."""
        return self._digest.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add bytes.

        Raises:
            StorageFull, StorageFault: the file has been removed; begin a new one.
        """
        if self._handle < 0:
            raise StorageFault("writing to a spool file that is closed", self.path)
        try:
            write_all(self._handle, data)
        except OSError as error:
            self.discard()
            raise as_storage_error(error, "receiving a file", self.path) from error
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def sync(self) -> None:
        """Make the bytes last. Raises StorageFull, StorageFault: the file has been removed."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages: this copy can never be trusted.
            self.discard()
            raise as_storage_error(error, "syncing a file", self.path) from error

    def discard(self) -> None:
        """Close and remove it; nothing where that was done."""
        if self._handle >= 0:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def sweep_spool(folder: Path) -> int:
    """Remove spool files whose writer is gone (killed, or the machine went down); how many. Those in use stay."""
    removed = 0
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
        except OSError:
            continue  # in use, or another sweep was first
        finally:
            os.close(handle)
    return removed
