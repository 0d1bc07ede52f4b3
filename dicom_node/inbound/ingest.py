"""Taking in one received object, from the network, an upload or an orphaned file: bytes to disk, then the row.

When `receive` returns, the object is kept for good: file synced, row committed. An object that cannot be filed is kept
aside in quarantine (`uploads/quarantine/`, named by content) and noted in the audit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.parsing import parse_data_set, parse_file, split_part10
from dicom_node.inbound.part10 import file_head, valid_uid
from dicom_node.inbound.refusals import ObjectUnreadable
from dicom_node.uids import derive_uid
from storage.audit import AuditRepository
from storage.files import FileStore
from storage.spool import SpoolFile
from storage.studies import InstanceRecord, Outcome, Recorded, StudyRepository
from storage.study_rows import InstanceRow

_QUARANTINE = "quarantine"


class Taken(StrEnum):
    """What became of a received object. The last three are in quarantine."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IDENTITY_CONFLICT = "identity-conflict"
    UID_MISMATCH = "uid-mismatch"
    INVALID_UID = "invalid-uid"
    UNREADABLE = "unreadable"

    @property
    def filed(self) -> bool:
        """True where the object is in the archive; False where it is in quarantine."""
        return self not in (Taken.UID_MISMATCH, Taken.INVALID_UID, Taken.UNREADABLE)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """taken: what became of it. path: relative to the storage root. reason: why it is in quarantine."""

    taken: Taken
    path: str
    reason: str = ""
    scan_id: str | None = None
    sop_instance_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the sender says of an object beside its data set: the command's UIDs, or a file's meta information.

    received_at: when it came, None for now.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str = ""
    upload_scan_id: str | None = None
    received_at: datetime | None = None


class Ingest:
    """The one way in for DICOM objects. Safe from any number of threads and processes on one store."""

    def __init__(self, files: FileStore, studies: StudyRepository, audit: AuditRepository | None = None) -> None:
        self._files = files
        self._studies = studies
        self._audit = audit

    def receive(self, data_set: bytes | Path, claim: Claim) -> Receipt:
        """Keep one object. data_set: its bytes as they came, without file meta information; a path as `receive_all`.

        Raises:
            StorageError: nothing was kept and nothing may be acknowledged.
        """
        (receipt,) = self.receive_all([(data_set, claim)])
        return receipt

    def receive_all(self, objects: Sequence[tuple[bytes | Path, Claim]]) -> list[Receipt]:
        """Keep many objects, their rows in one transaction. A path: a Part-10 file of the store, which keeps its name.

        Raises:
            StorageError: some files may have been kept, no rows; to be called again with the same objects.
        """
        # Our own results that come back are kept once; a peer that echoes must not fill the store with coerced copies.
        returned = self._studies.returned_results([claim.sop_instance_uid for _, claim in objects])
        filed = [
            _known(returned[uid]) if (uid := claim.sop_instance_uid) in returned else self._file(source, claim)
            for source, claim in objects
        ]
        recorded = iter(self._studies.record_instances([kept for kept in filed if isinstance(kept, InstanceRecord)]))
        receipts = []
        for (source, claim), kept in zip(objects, filed, strict=True):
            if isinstance(kept, Receipt):
                receipts.append(kept)
                continue
            found = next(recorded)
            if found.outcome is Outcome.DUPLICATE and not self._in_place(found, kept):
                # Removed by policy between our look at the file and the row. Now the row keeps it: put it there again.
                again = self._file(source, claim)
                self._studies.move_instance(kept.sop_instance_uid, again.path)
                found = replace(found, path=again.path)
            receipts.append(_receipt(kept, found))
        return receipts

    def _in_place(self, found: Recorded, kept: InstanceRecord) -> bool:
        """Whether the bytes of a known instance are where its row says. Raises StorageFault."""
        if found.path == kept.path and not found.restored:
            return self._files.abspath(found.path).is_file()
        # While the instance was removed its place was free for another object of its UID.
        return self._files.verify(found.path, kept.sha256)

    def _file(self, source: bytes | Path, claim: Claim) -> InstanceRecord | Receipt:
        """The file in its place and what its row is to say, or the receipt of what went to quarantine."""
        if not valid_uid(claim.sop_instance_uid) or not valid_uid(claim.sop_class_uid):
            return self._quarantine(source, claim, Taken.INVALID_UID, "its SOP class or instance UID is not a UID")
        try:
            if isinstance(source, Path):
                dataset = parse_file(source, stop_before_pixels=True)
            else:
                dataset = parse_data_set(source, claim.transfer_syntax_uid, stop_before_pixels=True)
            header = read_header(dataset)
        except ObjectUnreadable as error:
            return self._quarantine(source, claim, Taken.UNREADABLE, error.reason)
        inside = (header.sop_class_uid or claim.sop_class_uid, header.sop_instance_uid or claim.sop_instance_uid)
        if inside != (claim.sop_class_uid, claim.sop_instance_uid):
            return self._quarantine(
                source, claim, Taken.UID_MISMATCH, "the command names another SOP class or instance than the data set"
            )
        header = normalised(header, claim)
        with self._spooled(source, claim) as spool:
            size, sha256 = spool.size, spool.sha256
            path = self._files.commit(
                spool, header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid
            )
        return _record(header, claim, path, size, sha256)

    @contextmanager
    def _spooled(self, source: bytes | Path, claim: Claim) -> Iterator[SpoolFile]:
        if isinstance(source, Path):
            with self._files.second_name(source) as spool:
                yield spool
            return
        with self._files.new_spool_file() as spool:
            spool.write(file_head(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid))
            spool.write(source)
            yield spool

    def receive_file(self, data: bytes, *, source: str, upload_scan_id: str | None = None) -> Receipt:
        """Keep one Part-10 file, as an upload brings it. source: stands where a sender's AE title would.

        Raises:
            ObjectUnreadable: it is not a DICOM file, or says nothing of what it is; nothing was kept.
            StorageError: as `receive`.
        """
        syntax, data_set = split_part10(data)
        header = read_header(parse_data_set(data_set, syntax, stop_before_pixels=True))
        claim = Claim(
            sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid, transfer_syntax_uid=syntax,
            calling_ae=source, upload_scan_id=upload_scan_id,
        )  # fmt: skip
        return self.receive(data_set, claim)

    def adopt_orphans(self) -> int:
        """Record the received files that have no row: synced, and never acknowledged since the process died. How many.

        Raises:
            StorageError: an orphan could not be read or recorded; the rest waits for the next start.
        """
        adopted = 0
        for path in self._files.orphans(self._studies.known_paths()):
            adopted += self._adopt(path)
        return adopted

    def _adopt(self, path: Path) -> bool:
        relative = self._files.relative(path)
        data = self._files.read(relative)
        try:
            syntax, data_set = split_part10(data)
            header = read_header(parse_data_set(data_set, syntax, stop_before_pixels=True))
        except ObjectUnreadable as error:
            self._note(Taken.UNREADABLE, relative, error.reason, "")
            return False
        claim = Claim(
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            transfer_syntax_uid=syntax,
            calling_ae="",
        )
        record = _record(normalised(header, claim), claim, relative, len(data), hashlib.sha256(data).hexdigest())
        found = self._studies.record_instance(record)
        if found.outcome is Outcome.DUPLICATE and not self._in_place(found, record):
            self._studies.move_instance(record.sop_instance_uid, relative)
        return True

    def _quarantine(self, source: bytes | Path, claim: Claim, taken: Taken, reason: str) -> Receipt:
        with self._files.second_name(source) if isinstance(source, Path) else self._files.new_spool_file() as spool:
            if not isinstance(source, Path):
                spool.write(source)
            path = self._files.commit_upload(spool, _QUARANTINE, f"{spool.sha256[:32]}.dataset")
        self._note(taken, path, reason, claim.calling_ae)
        return Receipt(taken=taken, path=path, reason=reason)

    def quarantine(self, source: bytes | Path, claim: Claim, reason: str) -> Receipt:
        """Keep an object aside that cannot be filed. Raises StorageError."""
        return self._quarantine(source, claim, Taken.UNREADABLE, reason)

    def note(self, kind: str, text: str) -> None:
        """One line for the audit. Raises StorageError."""
        if self._audit is not None:
            self._audit.append(kind, text)

    def _note(self, taken: Taken, path: str, reason: str, calling_ae: str) -> None:
        if self._audit is not None:
            self._audit.append("quarantined", f"{taken}: {reason}", data={"path": path, "calling_ae": calling_ae})


def normalised(header: InstanceHeader, claim: Claim) -> InstanceHeader:
    """The header with what filing needs: UIDs the data set lacks come from the claim, or are derived from what it has.

    Objects without a usable Study Instance UID meet in one study by patient, date and accession number, and those
    without a Series Instance UID in one series by study, number and description. The file keeps the sender's bytes.
    """
    study, series = header.study_instance_uid, header.series_instance_uid
    if not valid_uid(study):
        study = derive_uid("study", study, header.patient_id, header.study_date, header.accession_number)
    if not valid_uid(series):
        series = derive_uid("series", series, study, str(header.series_number), header.series_description)
    return replace(
        header,
        sop_class_uid=header.sop_class_uid or claim.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid or claim.sop_instance_uid,
        transfer_syntax_uid=claim.transfer_syntax_uid,
        study_instance_uid=study,
        series_instance_uid=series,
    )


def _record(header: InstanceHeader, claim: Claim, path: str, size: int, sha256: str) -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        modality=header.modality,
        series_description=header.series_description,
        patient_id=header.patient_id,
        issuer_of_patient_id=header.issuer_of_patient_id,
        patient_name=header.patient_name,
        study_date=header.study_date,
        study_description=header.study_description,
        accession_number=header.accession_number,
        instance_number=header.instance_number,
        path=path,
        size=size,
        sha256=sha256,
        calling_ae=claim.calling_ae,
        header=header.to_json(),
        own_object=header.own_object,
        upload_scan_id=claim.upload_scan_id,
        received_at=claim.received_at,
    )


def _known(row: InstanceRow) -> Receipt:
    return Receipt(taken=Taken.DUPLICATE, path=row.path, sop_instance_uid=row.sop_instance_uid)


def _receipt(record: InstanceRecord, recorded: Recorded) -> Receipt:
    return Receipt(
        taken=Taken(recorded.outcome.value),
        path=recorded.path,
        scan_id=recorded.scan_id,
        sop_instance_uid=record.sop_instance_uid,
    )
