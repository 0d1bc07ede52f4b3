"""The errors of `storage`. Each says whether trying again can help; none names a patient.

`code` is a stable word for scripts, tables and HTTP problem documents.
"""

from __future__ import annotations

from pathlib import Path


class StorageError(Exception):
    """Base of every error raised by `storage`. `transient` is True where the same call may succeed later."""

    code: str = "storage-error"
    transient: bool = False


class TransientStorageError(StorageError):
    """Trying again later can help: the database or the disk was not able just now."""

    code = "storage-transient"
    transient = True


class PermanentStorageError(StorageError):
    """Trying again will give the same answer."""

    code = "storage-permanent"


class StorageBusy(TransientStorageError):
    """Another writer held the database for longer than the busy timeout."""

    code = "storage-busy"


class StorageUnavailable(TransientStorageError):
    """The database could not be reached, or dropped the connection. Nothing was committed that was not told so."""

    code = "storage-unavailable"


class StorageFull(TransientStorageError):
    """No space (or no inode, or no quota) left. What was half written has been removed."""

    code = "storage-full"


class StorageFault(TransientStorageError):
    """The disk or the database answered with an input/output error. What was half written has been removed.

    `path` is the file or folder concerned, where it is known.
    """

    code = "storage-fault"

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class ImpossibleTransition(PermanentStorageError):
    """The scan is in a state in which this event has no meaning. `state` and `event` are the two words."""

    code = "impossible-transition"

    def __init__(self, state: str, event: str, scan_id: str | None = None) -> None:
        where = f"scan {scan_id}" if scan_id else "a scan"
        super().__init__(f"{where} is '{state}': '{event}' cannot happen to it there")
        self.state = state
        self.event = event
        self.scan_id = scan_id


class NotFound(PermanentStorageError):
    """No row has this identifier. `what` is the kind of thing, `key` the identifier asked for."""

    code = "not-found"

    def __init__(self, what: str, key: object) -> None:
        super().__init__(f"no {what} '{str(key)[:80]}'")
        self.what = what
        self.key = key


class Conflict(PermanentStorageError):
    """The change contradicts a row that is there. `field` names the contested thing."""

    code = "conflict"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class InvalidQuery(PermanentStorageError):
    """A filter, limit, order or cursor that cannot be used. `field` names it."""

    code = "invalid-query"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class UnsafePath(PermanentStorageError):
    """A path or name that would leave the storage root, or is not one the store makes."""

    code = "unsafe-path"


class AlreadyRunning(PermanentStorageError):
    """Another process holds the lock of this name on this storage root."""

    code = "already-running"


class SchemaMismatch(PermanentStorageError):
    """The database's schema is not the one this code works with. The message says what to do."""

    code = "schema-mismatch"
