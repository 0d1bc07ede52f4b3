"""Whether what a peer asks about is kept here: a row, and behind it a file that still has its hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select

from storage.database import Database
from storage.errors import StorageError
from storage.files import FileStore
from storage.retention_tables import RemovedInstance
from storage.tables import Instance

_BATCH = 500


class Held(StrEnum):
    """`damaged`: the file is missing, changed or cannot be read."""

    KEPT = "kept"
    MISSING = "missing"
    OTHER_CLASS = "other-class"
    DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One instance asked about and how it is held."""

    sop_class_uid: str
    sop_instance_uid: str
    held: Held


class Holdings:
    """Looks rows and files up, reading each file to its end."""

    def __init__(self, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files

    def all_known(self, references: Sequence[tuple[str, str]]) -> bool:
        """True where each has a row; an object that was just acknowledged gets its own a moment later."""
        return len(self._rows(references)) == len({uid for _, uid in references})

    def _rows(self, references: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str, str]]:
        """SOP Instance UID to class, path and hash."""
        kept: dict[str, tuple[str, str, str]] = {}
        uids = [uid for _, uid in references]
        with self._database.read() as session:
            for start in range(0, len(uids), _BATCH):
                query = (
                    select(Instance.sop_instance_uid, Instance.sop_class_uid, Instance.path, Instance.sha256)
                    .outerjoin(RemovedInstance, RemovedInstance.instance_id == Instance.id)
                    .where(RemovedInstance.instance_id.is_(None))
                )
                for row in session.execute(query.where(Instance.sop_instance_uid.in_(uids[start : start + _BATCH]))):
                    kept[row.sop_instance_uid] = (row.sop_class_uid, row.path, row.sha256)
        return kept

    def of(self, references: Sequence[tuple[str, str]]) -> list[Holding]:
        """How each (SOP Class UID, SOP Instance UID) is held, in order."""
        kept = self._rows(references)
        return [
            Holding(sop_class_uid=sop_class, sop_instance_uid=uid, held=self._held(sop_class, kept.get(uid)))
            for sop_class, uid in references
        ]

    def _held(self, sop_class_uid: str, kept: tuple[str, str, str] | None) -> Held:
        if kept is None:
            return Held.MISSING
        known_class, path, sha256 = kept
        if known_class != sop_class_uid:
            return Held.OTHER_CLASS
        try:
            return Held.KEPT if self._files.verify(path, sha256) else Held.DAMAGED
        except StorageError:
            return Held.DAMAGED
