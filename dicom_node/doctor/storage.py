"""Database, files and the worker's lock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, skipped, warning, wrong
from dicom_node.errors import DicomNodeError
from dicom_node.store import Store, open_store
from storage.clock import Clock
from storage.database import check_schema
from storage.errors import AlreadyRunning, StorageError, StorageUnavailable
from storage.files import FileStore

_SCHEMA_MISSING = "no schema yet"


def examine_database(config: NodeConfig, *, migrate: bool) -> Iterator[Finding]:
    """Whether the rows can be reached and have this release's schema. migrate: give them that first."""
    try:
        if migrate:
            open_store(config).database.close()
        problem = check_schema(config.storage.rows_url)
    except StorageUnavailable as error:
        yield wrong("database", Fault.DATABASE_UNREACHABLE, str(error))
        return
    except (StorageError, DicomNodeError) as error:
        yield wrong("database", Fault.DATABASE_NOT_MIGRATED, str(error))
        return
    if problem is None:
        yield ok("database", "reached, schema up to date")
    elif _SCHEMA_MISSING in problem:
        yield warning("database", Fault.DATABASE_NOT_MIGRATED, "reached, empty: the node fills it at its first start")
    elif "schema" in problem:
        yield wrong("database", Fault.DATABASE_NOT_MIGRATED, problem)
    else:
        yield wrong("database", Fault.DATABASE_UNREACHABLE, problem)


def examine_files(config: NodeConfig) -> Iterator[Finding]:
    """Room, and whether every folder takes a synced file and a link from the spool."""
    least = config.storage.min_free_mb
    try:
        # Its own limit off: how much is free is said here, in the configuration's words.
        files = FileStore(config.storage.root, min_free_bytes=0)
        problems = files.check()
        free_mb = files.free_bytes() >> 20
    except StorageError as error:
        yield wrong("files", Fault.FOLDER_UNWRITABLE, str(error))
        return
    for problem in problems:
        yield wrong("files", Fault.FOLDER_UNWRITABLE, problem)
    if free_mb < least:
        text = f"{files.root}: {free_mb} MB free, storage.min_free_mb is {least}: nothing is received"
        yield wrong("disk", Fault.DISK_LOW, f"{text}; free some space, or lower it")
    elif free_mb < 2 * least:
        yield warning("disk", Fault.DISK_LOW, f"{files.root}: {free_mb} MB free, receiving stops below {least}")
    else:
        yield ok("disk", f"{files.root}: {free_mb} MB free")
    if not problems:
        yield ok("files", f"{files.root}: writable, synced, one file system")


def examine_lock(config: NodeConfig, store: Store | None, clock: Clock) -> Iterator[Finding]:
    """Whether a worker holds the storage, and is alive."""
    if store is None:
        yield skipped("worker", "no rows to look at")
        return
    name = config.engine.executor_id
    silent_after = timedelta(seconds=config.engine.takeover_after_s)
    beats = {beat.executor_id: beat.at for beat in store.heartbeats.all() if beat.role == "work"}
    seen = beats.get(name)
    quiet = seen is None or clock() - seen > silent_after
    try:
        with store.files.lock(f"worker-{name}"):
            held = False
    except AlreadyRunning:
        held = True
    if held and quiet:
        since = "has given no sign of life yet" if seen is None else f"is silent since {seen:%Y-%m-%d %H:%M:%S} UTC"
        text = f"'{name}' holds the storage and {since}; it starts, or hangs: see its log, then restart it"
        yield wrong("worker", Fault.WORKER_SILENT, text)
    elif held:
        yield ok("worker", f"'{name}' holds the storage and is alive")
    elif not quiet:
        text = f"another worker named '{name}' is alive and does not hold this storage: give each its executor_id"
        yield wrong("worker", Fault.WORKER_SILENT, text)
    else:
        others = sorted(other for other, at in beats.items() if clock() - at <= silent_after)
        yield ok("worker", f"{', '.join(others)} alive" if others else "none runs; the storage is free")
