"""The web's DICOMweb door to the receiver: one part of a STOW-RS request, taken with the same guarantees as C-STORE."""

from __future__ import annotations

from pathlib import Path

import structlog

from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.ingest import Claim, Ingest, Taken
from dicom_node.inbound.parsing import parse_file, read_meta
from dicom_node.inbound.part10 import file_head, valid_uid
from dicom_node.inbound.refusals import ObjectUnreadable
from storage.errors import StorageError
from storage.files import FileStore
from web.ingest import StoredPart

log = structlog.get_logger("stow")

# PS3.18 table I.2-2: the words of C-STORE's statuses.
_OUT_OF_RESOURCES = 0xA700
_DATA_SET_MISMATCH = 0xA900
_CANNOT_UNDERSTAND = 0xC000
_INVALID_INSTANCE = 0x0117

_FAILURES = {
    Taken.UID_MISMATCH: _DATA_SET_MISMATCH,
    Taken.INVALID_UID: _INVALID_INSTANCE,
    Taken.UNREADABLE: _CANNOT_UNDERSTAND,
}
_CHUNK = 1 << 20


class StowDoor:
    """Implements `web.ingest.StowIngest` over the node's one `Ingest`."""

    def __init__(self, ingest: Ingest, files: FileStore) -> None:
        self._ingest = ingest
        self._files = files

    def store_part(self, path: Path, *, calling: str, study_instance_uid: str | None) -> StoredPart:
        """See `web.ingest.StowIngest`."""
        try:
            syntax = _transfer_syntax(path)
            header = read_header(parse_file(path, stop_before_pixels=True))
        except ObjectUnreadable as error:
            log.warning("STOW part refused", why=error.reason)
            return StoredPart(failure=_CANNOT_UNDERSTAND)
        named = StoredPart(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid)
        if not (valid_uid(header.sop_class_uid) and valid_uid(header.sop_instance_uid)):
            return StoredPart(failure=_INVALID_INSTANCE)
        if study_instance_uid is not None and header.study_instance_uid != study_instance_uid:
            return _failed(named, _DATA_SET_MISMATCH)
        try:
            taken = self._take(path, syntax, header, calling)
        except (StorageError, OSError) as error:
            log.error("STOW part not stored", code=getattr(error, "code", type(error).__name__))
            return _failed(named, _OUT_OF_RESOURCES)
        return named if taken.filed else _failed(named, _FAILURES[taken])

    def _take(self, path: Path, syntax: str, header: InstanceHeader, calling: str) -> Taken:
        """File the data set behind our own file meta information: it must be the file that C-STORE would have made."""
        claim = Claim(
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            transfer_syntax_uid=syntax,
            calling_ae=calling,
        )
        with path.open("rb") as stream, self._files.new_spool_file() as spool:
            read_meta(stream)
            spool.write(file_head(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid))
            while chunk := stream.read(_CHUNK):
                spool.write(chunk)
            return self._ingest.receive(spool.path, claim).taken


def _transfer_syntax(path: Path) -> str:
    with path.open("rb") as stream:
        return read_meta(stream)


def _failed(named: StoredPart, failure: int) -> StoredPart:
    return StoredPart(sop_class_uid=named.sop_class_uid, sop_instance_uid=named.sop_instance_uid, failure=failure)
