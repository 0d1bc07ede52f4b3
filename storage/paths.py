"""Where a file lies below the storage root. A UID's own text never becomes a part of a path.

spool/            <random>.part      being received
studies/          <sha16 of study UID>/<sha16 of series UID>/<sha32 of SOP UID>.dcm
conflicts/        <sha32 of SOP UID>-<sha16 of content>.dcm
results/<run>/    what an analysis made
uploads/<scan>/   what a person sent
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from storage.errors import UnsafePath

AREAS = ("spool", "studies", "conflicts", "results", "uploads")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")


def instance_path(study_uid: str, series_uid: str, sop_uid: str) -> PurePosixPath:
    """Where a received instance belongs, relative to the root."""
    return PurePosixPath("studies", _sha(study_uid, 16), _sha(series_uid, 16), f"{_sha(sop_uid, 32)}.dcm")


def conflict_path(sop_uid: str, content_sha256: str) -> PurePosixPath:
    """Where a second instance of the same UID with other bytes belongs, relative to the root."""
    return PurePosixPath("conflicts", f"{_sha(sop_uid, 32)}-{content_sha256[:16]}.dcm")


def safe_name(name: str) -> str:
    """`name`, where it can be one part of a path on any file system.

    Raises:
        UnsafePath: empty, over 120 characters, beginning with '.' or '-', or with anything but ASCII letters, digits,
            '.', '_' and '-'.
    """
    if not _NAME.fullmatch(name):
        raise UnsafePath("a name in the store is 1 to 120 letters, digits, '.', '_', '-' and begins with no '.' or '-'")
    return name


def inside(root: Path, relative: str) -> Path:
    """The absolute path of a row's path.

    Raises:
        UnsafePath: absolute, with '..', in no area of the store, or through a link to somewhere outside `root`.
    """
    pure = PurePosixPath(relative)
    if "\0" not in relative and pure.parts and pure.parts[0] in AREAS and ".." not in pure.parts:
        path = (root / pure).resolve()
        if path.is_relative_to(root):
            return path
    raise UnsafePath("a path outside the storage root was refused")


def _sha(uid: str, length: int) -> str:
    return hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()[:length]
