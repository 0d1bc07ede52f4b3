"""The web's door to the receiver: one uploaded DICOM file, taken with the same guarantees as C-STORE."""

from __future__ import annotations

from pathlib import Path

from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.ingest import Ingest, Taken
from dicom_node.inbound.part10 import valid_uid
from dicom_node.inbound.refusals import ObjectUnreadable
from storage.scans import ScanRepository
from storage.vocabulary import Source
from web.ingest import Ingested, IngestOutcome

_RESULTS = {
    Taken.NEW: Ingested.NEW,
    Taken.DUPLICATE: Ingested.DUPLICATE,
    Taken.CONFLICT: Ingested.CONFLICT,
    Taken.IDENTITY_CONFLICT: Ingested.CONFLICT,
}


class UploadDoor:
    """Implements `web.ingest.UploadIngest` over the node's one `Ingest`."""

    def __init__(self, ingest: Ingest, scans: ScanRepository) -> None:
        self._ingest = ingest
        self._scans = scans

    def ingest_dicom(self, path: Path, *, calling: str, user_id: int) -> IngestOutcome:
        """See `web.ingest.UploadIngest`."""
        data = path.read_bytes()
        try:
            scan_id = self._scan_for(read_header(data), user_id)
            receipt = self._ingest.receive_file(data, source=calling, upload_scan_id=scan_id)
        except ObjectUnreadable as error:
            return IngestOutcome(result=Ingested.REFUSED, reason=error.reason)
        result = _RESULTS.get(receipt.taken)
        if result is None:
            return IngestOutcome(result=Ingested.REFUSED, reason=receipt.reason)
        return IngestOutcome(result=result, scan_id=receipt.scan_id, reason=receipt.reason)

    def _scan_for(self, header: InstanceHeader, user_id: int) -> str | None:
        """A scan in the uploader's name for a study's first object; None where it has one or none is due."""
        usable = valid_uid(header.study_instance_uid) and valid_uid(header.sop_instance_uid)
        if not usable or header.own_object or self._scans.by_study(header.study_instance_uid) is not None:
            return None
        return self._scans.create_upload(Source.UPLOAD_DICOM, user_id=user_id).id
