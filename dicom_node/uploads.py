"""The web's door to the receiver: one uploaded DICOM file, taken with the same guarantees as C-STORE."""

from __future__ import annotations

from pathlib import Path

from dicom_node.inbound.ingest import Ingest, Taken
from dicom_node.inbound.refusals import ObjectUnreadable
from web.ingest import Ingested, IngestOutcome

_RESULTS = {
    Taken.NEW: Ingested.NEW,
    Taken.DUPLICATE: Ingested.DUPLICATE,
    Taken.CONFLICT: Ingested.CONFLICT,
    Taken.IDENTITY_CONFLICT: Ingested.CONFLICT,
}


class UploadDoor:
    """Implements `web.ingest.UploadIngest` over the node's one `Ingest`."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def ingest_dicom(self, path: Path, *, calling: str, user_id: int) -> IngestOutcome:
        """See `web.ingest.UploadIngest`."""
        try:
            receipt = self._ingest.receive_file(path.read_bytes(), source=calling)
        except ObjectUnreadable as error:
            return IngestOutcome(result=Ingested.REFUSED, reason=error.reason)
        result = _RESULTS.get(receipt.taken)
        if result is None:
            return IngestOutcome(result=Ingested.REFUSED, reason=receipt.reason)
        return IngestOutcome(result=result, scan_id=receipt.scan_id, reason=receipt.reason)
