"""Making a backup of a node that runs.

The order makes it whole. The rows come first: whatever a row of the copy names was on the disk before. Then the
journals of the receivers, then the files: what was acknowledged before the copy began is a row, or a record of a
journal that is copied, or a file by the time the files are. At the first start after a restore records and files
without a row get theirs, as after a crash.

The job engine's database is left out: what is under way there is handed over anew from the rows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dicom_node.backup.layout import FORMAT, HASHES, SECRETS, STORE, SUMMARY, BackupUnusable, Summary, read_hashes
from storage.durable import FILE_MODE, FOLDER_MODE, faults_named, file_sha256, sync_folder
from storage.snapshots import snapshot_database, snapshot_name
from storage.spool import SUFFIX

#: In this order. The first is where the journals are; files of the next three never change once they are there.
_AREAS = ("spool", "studies", "conflicts", "uploads", "results")
_UNCHANGING = ("studies", "conflicts", "uploads")
_CHUNK = 1 << 20


def make_backup(
    *, root: Path, database_url: str, out: Path, made_at: datetime, software_version: str, since: Path | None = None
) -> Summary:
    """Copy rows and files of the store at `root` into the new folder `out`.

    Args:
        since: an earlier backup on the same disk; files that are in it and never change are linked, not copied.

    Raises:
        BackupUnusable: `out` is not empty, or lies in the store; `since` is no backup.
        StorageError: reading or writing failed; `out` then has no backup.json.
    """
    root, out = root.resolve(), out.resolve()
    if out == root or root in out.parents:
        raise BackupUnusable(f"{out} lies in the store that is backed up: choose a folder outside {root}")
    if out.exists() and any(out.iterdir()):
        raise BackupUnusable(f"{out} is not empty: name a new folder for every backup")
    known = {} if since is None else read_hashes(since)
    with faults_named("making the backup's folder", out):
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(FOLDER_MODE)
    rows = snapshot_name(database_url)
    snapshot_database(database_url, out / rows)
    hashes = {rows: file_sha256(out / rows)}
    for path in _files_of(root):
        relative = f"{STORE}/{path.relative_to(root).as_posix()}"
        with faults_named("backing up a file", path):
            digest = _linked(relative, known, since, out, path) or _copied(path, out / relative)
        if digest is not None:
            hashes[relative] = digest
    size = sum((out / path).stat().st_size for path in hashes)
    summary = Summary(
        format=FORMAT,
        made_at=made_at.isoformat(),
        software_version=software_version,
        rows=rows,
        files=len(hashes),
        size_bytes=size,
    )
    _write_synced(out / HASHES, "".join(f"{digest}  {path}\n" for path, digest in hashes.items()).encode())
    for folder in {(out / path).parent for path in hashes}:
        sync_folder(folder)
    _write_synced(out / SUMMARY, summary.to_bytes())
    sync_folder(out)
    return summary


def _files_of(root: Path) -> Iterator[Path]:
    for area in _AREAS:
        for path in sorted((root / area).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix != SUFFIX:
                yield path
    for name in SECRETS:
        if (root / name).is_file():
            yield root / name


def _linked(relative: str, known: Mapping[str, str], since: Path | None, out: Path, path: Path) -> str | None:
    """The hash of a file that was linked from the earlier backup; None where it has to be copied."""
    digest = known.get(relative)
    if since is None or digest is None or relative.split("/")[1] not in _UNCHANGING:
        return None
    with suppress(OSError):  # gone on one side, or another disk: it is copied
        if (since / relative).stat().st_size == path.stat().st_size:
            (out / relative).parent.mkdir(parents=True, exist_ok=True)
            os.link(since / relative, out / relative)
            return digest
    return None


def _copied(path: Path, target: Path) -> str | None:
    """Copy and sync a file; its hash. None where it went away meanwhile, as what retention removes does."""
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source, target.open("xb") as copy:
        os.fchmod(copy.fileno(), FILE_MODE)
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with faults_named("writing the backup's list", path), path.open("xb") as stream:
        os.fchmod(stream.fileno(), FILE_MODE)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
