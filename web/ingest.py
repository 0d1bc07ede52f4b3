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


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """What became of one object of a STOW-RS request. failure: its reason (PS3.18 table I.2-2), None where it is kept.

    The UIDs are empty where the part does not say what it is.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    failure: int | None = None


class StowIngest(Protocol):
    """Takes one DICOM file of a STOW-RS request as C-STORE would."""

    def store_part(self, path: Path, *, calling: str, study_instance_uid: str | None) -> StoredPart:
        """Take the file at `path` (in the store's spool, removed by the caller afterwards), however large.

        calling: at most 16 characters. study_instance_uid: the study the request names, None where it names none; an
        object of another is refused. Every refusal is an answer, a full disk's included.
        """
        ...
