"""What a backup is on the disk, and how one is read and checked.

```
backup.json        written last: what, when, by which version; a folder without it is no backup
files.sha256       every file with its hash, in the format of `sha256sum --check`
rows.sqlite        the rows (PostgreSQL: rows.pgdump)
store/...          the files, as below the storage root
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dicom_node.errors import Permanent
from storage.durable import faults_named, file_sha256

SUMMARY = "backup.json"
HASHES = "files.sha256"
STORE = "store"
FORMAT = 1
#: Single files below the storage root, for the node alone to read.
SECRETS = ("web-secret", "research-key")


class BackupUnusable(Permanent):
    """A folder that is no backup, or one whose files are not what they were. The message names them."""

    code = "backup-unusable"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The content of backup.json. made_at: ISO 8601 with time zone. files, size_bytes: without the three at the top."""

    format: int
    made_at: str
    software_version: str
    rows: str
    files: int
    size_bytes: int

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), indent=1).encode()


def read_summary(folder: Path) -> Summary:
    """The summary of a backup.

    Raises:
        BackupUnusable: none is there, or of another format.
    """
    try:
        told = json.loads((folder / SUMMARY).read_bytes())
        summary = Summary(**told)
    except FileNotFoundError:
        raise BackupUnusable(f"{folder} is no complete backup: it has no {SUMMARY}") from None
    except (ValueError, TypeError):
        raise BackupUnusable(f"{folder / SUMMARY} cannot be read: it was not written by `tumor-node backup`") from None
    if summary.format != FORMAT:
        raise BackupUnusable(f"{folder} has format {summary.format}; this release reads format {FORMAT}")
    return summary


def read_hashes(folder: Path) -> Mapping[str, str]:
    """SHA-256 (hex) of every file of a backup, by its path below `folder`. Raises BackupUnusable."""
    try:
        lines = (folder / HASHES).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BackupUnusable(f"{folder} is no complete backup: it has no {HASHES}") from None
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def damaged_files(folder: Path) -> list[str]:
    """The files of a backup that are missing or changed, by path; empty where all is well.

    Raises:
        BackupUnusable: see `read_summary`. StorageFault: a file cannot be read.
    """
    read_summary(folder)
    damaged = []
    for path, digest in read_hashes(folder).items():
        with faults_named("checking a file of the backup", folder / path):
            if not (folder / path).is_file() or file_sha256(folder / path) != digest:
                damaged.append(path)
    return damaged
