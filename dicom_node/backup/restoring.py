"""A store made anew from a backup. The node is stopped meanwhile; it refuses to start on a half-restored store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dicom_node.backup.layout import SECRETS, STORE, BackupUnusable, Summary, damaged_files, read_hashes, read_summary
from storage.durable import FILE_MODE, FOLDER_MODE, faults_named, sync_folder
from storage.snapshots import database_is_empty, restore_database

#: Lies in the storage root from the first file to the last row.
UNFINISHED = "restore-unfinished"


class RestoreRefused(BackupUnusable):
    """A restore that would overwrite something, or a store that a restore left half done."""

    code = "restore-refused"


def restore_backup(*, backup: Path, root: Path, database_url: str) -> Summary:
    """Check `backup`, then put its files below `root` and its rows into the database. A restore that was cut off may be
    started again.

    Raises:
        BackupUnusable: a file of the backup is missing or changed; nothing was touched.
        RestoreRefused: `root` or the database holds something already. StorageError.
    """
    summary = read_summary(backup)
    damaged = damaged_files(backup)
    if damaged:
        shown = ", ".join(damaged[:5])
        raise BackupUnusable(f"{len(damaged)} files of {backup} are missing or changed ({shown}): nothing was restored")
    marker = root / UNFINISHED
    if not marker.exists() and root.exists() and any(root.iterdir()):
        raise RestoreRefused(f"{root} is not empty: move it away, or set storage.root to a new folder")
    if not database_is_empty(database_url):
        raise RestoreRefused("the database has tables already: name an empty one in storage.database_url")
    with faults_named("restoring", root):
        root.mkdir(parents=True, exist_ok=True)
        marker.touch()
        sync_folder(root)
    for relative in read_hashes(backup):
        if relative.startswith(f"{STORE}/"):
            target = root / relative.removeprefix(f"{STORE}/")
            with faults_named("restoring a file", target):
                _put(backup / relative, target)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(FOLDER_MODE)
        sync_folder(folder)
    restore_database(backup / summary.rows, database_url)
    with faults_named("finishing the restore", root):
        marker.unlink()
        sync_folder(root)
    return summary


def refuse_unfinished(root: Path) -> None:
    """Raises RestoreRefused where a restore into `root` was cut off."""
    if (root / UNFINISHED).exists():
        raise RestoreRefused(f"a restore into {root} was cut off: run `tumor-node restore` again")


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".restoring")
    shutil.copyfile(source, aside)
    aside.chmod(0o600 if target.name in SECRETS else FILE_MODE)
    handle = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(aside, target)
