"""What the journals of stopped listeners hold of objects that have their rows: nobody needs it, and it names patients.

A segment is only written over when it is used again, so it keeps what it held through a restart.
"""

from __future__ import annotations

from pathlib import Path

from dicom_node.inbound.fast.big_objects import remove_older_files
from dicom_node.inbound.fast.cursor import Cursor
from dicom_node.inbound.fast.records import HEADER_BYTES, unpack_header
from dicom_node.inbound.fast.segments import Place, segments_in
from storage.durable import faults_named, sync_folder
from storage.errors import AlreadyRunning
from storage.files import FileStore
from storage.locks import file_lock

_RECORD = b"BTJR"


def remove_filed_journals(files: FileStore) -> int:
    """Unlink the segments of stopped listeners all of whose records have their rows; how many.

    Those of a listener, or of an indexer, that runs stay.

    Raises:
        StorageFault: a journal cannot be read or removed.
    """
    removed = 0
    for folder in sorted((files.root / "spool").glob("receiver-*")):
        try:
            with (
                files.lock(folder.name),
                file_lock(folder / "indexer.lock"),
                faults_named("removing a filed journal", folder),
            ):
                removed += _remove_filed(folder)
        except AlreadyRunning:
            continue
    return removed


def _remove_filed(folder: Path) -> int:
    cursor, removed = Cursor(folder).read(), 0
    for sequence, path in segments_in(folder).items():
        # The next segment's number is above the cursor's, whether the cursor's own segment is there or not.
        if sequence < cursor.sequence or (sequence == cursor.sequence and not _has_more(path, cursor)):
            path.unlink()
            removed += 1
    if removed and not segments_in(folder):
        remove_older_files(folder, cursor.sequence + 1)
    sync_folder(folder)
    return removed


def _has_more(path: Path, cursor: Place) -> bool:
    """Whether a record of the cursor's sequence stands behind it, be it behind damage. Older ones were filed before."""
    data = path.read_bytes()
    at = data.find(_RECORD, cursor.offset)
    while at >= 0:
        header = unpack_header(data[at : at + HEADER_BYTES])
        if header is not None and header.sequence == cursor.sequence:
            return True
        at = data.find(_RECORD, at + 1)
    return False
