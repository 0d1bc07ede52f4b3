"""STOW-RS as a receiver: each part through the spool to the receiver's door, and the answer of PS3.18 section 10.5."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from storage.errors import StorageError
from storage.spool import SpoolFile
from web.context import WebContext
from web.ingest import StoredPart
from web.multipart_related import MultipartRefused

MEDIA_TYPE = "application/dicom+json"
PART_TYPE = "application/dicom"
_OUT_OF_RESOURCES = 0xA700


class PartTooLarge(Exception):
    """One object is larger than this node takes."""


class StowReception:
    """Takes the parts of one request. What was stored before a damaged place stays stored, as after a cut association.

    Args:
        calling: at most 16 characters. study_instance_uid: the study the request's URL names.
    """

    def __init__(self, context: WebContext, *, calling: str, study_instance_uid: str | None) -> None:
        self._context = context
        self._calling = calling
        self._study_instance_uid = study_instance_uid
        self._open = ExitStack()
        self._spool: SpoolFile | None = None
        self._lost = False
        self.parts: list[StoredPart] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        """See `PartSink`. Raises MultipartRefused for a part of another media type."""
        if headers.get("content-type", PART_TYPE).partition(";")[0].strip().lower() != PART_TYPE:
            raise MultipartRefused(f"part {len(self.parts) + 1} is not {PART_TYPE}")
        self._lost = False
        try:
            self._spool = self._open.enter_context(self._context.files.new_spool_file())
        except StorageError:
            self._lost = True

    def data(self, data: bytes) -> None:
        """See `PartSink`. Raises PartTooLarge."""
        if self._lost or self._spool is None:
            return
        if self._spool.size + len(data) > self._context.settings.max_object_bytes:
            raise PartTooLarge(f"part {len(self.parts) + 1} is too large")
        try:
            self._spool.write(data)
        except StorageError:
            self._lost = True

    def end(self) -> None:
        """See `PartSink`."""
        stow, spool = self._context.stow, self._spool
        if self._lost or spool is None or stow is None:
            self.parts.append(StoredPart(failure=_OUT_OF_RESOURCES))
        else:
            self.parts.append(
                stow.store_part(spool.path, calling=self._calling, study_instance_uid=self._study_instance_uid)
            )
        self.close()

    def close(self) -> None:
        """Remove what was begun and not stored."""
        self._spool = None
        self._open.close()

    @property
    def stored(self) -> int:
        """Objects kept."""
        return sum(part.failure is None for part in self.parts)

    @property
    def status(self) -> int:
        """200 where all are kept, 202 where some are, 409 where none is; 503 where only room was lacking."""
        if self.stored == len(self.parts):
            return 200
        if self.stored:
            return 202
        return 503 if all(part.failure == _OUT_OF_RESOURCES for part in self.parts) else 409

    def answer(self) -> dict[str, Any]:
        """The Store Instances Response as DICOM JSON."""
        found: dict[str, Any] = {}
        named = [part for part in self.parts if part.sop_instance_uid]
        _put(found, "00081199", [_reference(part) for part in named if part.failure is None])
        _put(found, "00081198", [_reference(part) for part in named if part.failure is not None])
        nameless = [part for part in self.parts if not part.sop_instance_uid]
        _put(found, "0008119A", [_failure(part.failure) for part in nameless])
        return found


def _put(found: dict[str, Any], tag: str, items: list[dict[str, Any]]) -> None:
    if items:
        found[tag] = {"vr": "SQ", "Value": items}


def _reference(part: StoredPart) -> dict[str, Any]:
    item: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": [part.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [part.sop_instance_uid]},
    }
    if part.failure is None:
        # Retrieve URL, type 2: this node gives nothing back.
        return item | {"00081190": {"vr": "UR"}}
    return item | _failure(part.failure)


def _failure(reason: int | None) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [reason]}}
