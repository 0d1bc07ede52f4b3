"""Objects too large for a record: each a Part-10 file of its own beside the journal, which only names it."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

from dicom_node.inbound.ingest import Claim
from dicom_node.inbound.part10 import file_head
from storage.durable import FILE_MODE, as_storage_error, sync_folder, write_all

SUFFIX = ".object"


class BigObjects:
    """Files of one session of the receiver, named `<session>-<n>`. Threads may share it."""

    def __init__(self, folder: Path, session: int) -> None:
        self._folder = folder
        self._session = session
        self._numbers = itertools.count()

    def begin(self, claim: Claim) -> BigObject:
        """A new file, its head written. Raises StorageFull, StorageFault."""
        return BigObject(self._folder / f"{self._session}-{next(self._numbers)}{SUFFIX}", claim)


class BigObject:
    """One file being received. One thread writes."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self.path = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
            os.fchmod(self._descriptor, FILE_MODE)
        except OSError as error:
            self.discard()
            raise as_storage_error(error, "receiving a large object", path) from error
        self.write(file_head(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid))

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises StorageFull, StorageFault: the file is gone."""
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self.discard()
            raise as_storage_error(error, "receiving a large object", self.path) from error

    def finish(self) -> None:
        """Make bytes and name last. Raises StorageFull, StorageFault: the file is gone."""
        try:
            os.fsync(self._descriptor)
            sync_folder(self.path.parent)
        except OSError as error:
            self.discard()
            raise as_storage_error(error, "syncing a large object", self.path) from error
        os.close(self._descriptor)
        self._descriptor = -1

    def discard(self) -> None:
        """Close and remove the file."""
        with suppress(OSError):
            self.path.unlink()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def remove_older_files(folder: Path, session: int) -> int:
    """Remove what sessions before `session` left: not journaled, so not acknowledged. How many. Raises OSError.

    Only when every record of those sessions is indexed.
    """
    removed = 0
    for path in folder.glob(f"*{SUFFIX}"):
        number = path.name.partition("-")[0]
        if number.isdigit() and int(number) < session:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
