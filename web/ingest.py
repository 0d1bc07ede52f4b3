"""The door through which an uploaded DICOM file reaches the node's receiver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Ingested(StrEnum):
    """What the receiver did with a file."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class IngestOutcome:
    """The receiver's answer. scan_id: the scan the file belongs to, unless refused. reason: why it was not taken."""

    result: Ingested
    scan_id: str | None = None
    reason: str = ""


class UploadIngest(Protocol):
    """Takes one DICOM file as C-STORE would: bytes to disk unchanged, row committed, then the answer."""

    def ingest_dicom(self, path: Path, *, calling: str, user_id: int) -> IngestOutcome:
        """Take the file at `path` (removed by the caller afterwards).

        calling: at most 16 characters, stands where C-STORE has the calling AE title. user_id: who uploaded it.
        A file that is no DICOM or may not be stored is answered REFUSED with its reason; an exception means that the
        node itself failed (disk, database).
        """
        ...
