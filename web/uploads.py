"""Taking an upload: NIfTI files of one scan, or zips of DICOM files. Routes and pages share `take_upload`."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from pipeline.volume import CHANNEL_ORDER, SeriesRole
from storage.files import FileStore
from storage.scan_rows import ScanRow
from storage.users import UserRow
from storage.vocabulary import RequestKind, Source
from web.archives import ArchiveRefused, ArchiveTooLarge, unpacked_members
from web.context import WebContext
from web.ingest import Ingested
from web.nifti_check import NiftiRefused, NiftiTooLarge, check_nifti, is_gzip
from web.problems import Problem
from web.role_names import UnclearName, role_from_name
from web.scan_view import summary
from web.schemas import Refusal, UploadAnswer
from web.trail import record

_ZIP_MAGIC = b"PK"
_BLOCK_BYTES = 1024 * 1024
_NAME_CHARACTERS = 64 * 3 + 2  # a DICOM person name: three groups of 64
_ID_CHARACTERS = 64
MAX_FILES = 32
MAX_FIELDS = 64


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One upload as sent. roles: one word a file, in the files' order; '' or nothing means 'by its name'."""

    files: tuple[UploadFile, ...]
    roles: tuple[str, ...]
    patient_name: str
    patient_id: str


def read_upload(form: FormData) -> Upload:
    """Return what a parsed multipart form holds.

    Raises:
        Problem: 422 for no file, or a name or ID that is too long or holds control characters.
    """
    files = tuple(part for _, part in form.multi_items() if isinstance(part, UploadFile) and part.filename)
    if not files:
        raise Problem(422, "no-files", "Send at least one file in the field 'files'.")
    return Upload(
        files=files,
        roles=tuple(str(word) for word in form.getlist("roles")),
        patient_name=_line(form, "patientName", _NAME_CHARACTERS),
        patient_id=_line(form, "patientId", _ID_CHARACTERS),
    )


def _line(form: FormData, field: str, limit: int) -> str:
    text = str(form.get(field) or "").strip()
    if len(text) > limit or any(not (c.isprintable() or c == " ") and ord(c) < 0x300 for c in text):
        raise Problem(422, "invalid-request", f"{field} takes one line of at most {limit} characters.")
    return text


def fingerprint(upload: Upload) -> str:
    """Return a SHA-256 over all that was sent: it tells the same upload from another under one key."""
    whole = hashlib.sha256(json.dumps([upload.roles, upload.patient_name, upload.patient_id]).encode())
    for file in upload.files:
        file.file.seek(0)
        content = hashlib.file_digest(file.file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.file.seek(0)
        whole.update(json.dumps([file.filename, content]).encode())
    return whole.hexdigest()


def take_upload(context: WebContext, request: Request, user: UserRow, upload: Upload) -> UploadAnswer:
    """Check the files, keep them, and leave a request for the worker.

    Raises:
        Problem: 413 for more than this node takes, 422 for files it cannot use. Of NIfTI nothing is kept then; DICOM
            files that were stored before a damaged place in the zip stay stored, as after a broken association.
    """
    archives = [file for file in upload.files if _starts_with(file.file, _ZIP_MAGIC)]
    if archives and len(archives) != len(upload.files):
        raise Problem(422, "mixed-upload", "Send either NIfTI files or zips of DICOM files, not both at once.")
    answer = _take_dicom(context, user, archives) if archives else _take_nifti(context, user, upload)
    for scan in answer.scans:
        record(context, request, "upload", user=user, scan_id=scan.id, files=answer.received)
    return answer


def _starts_with(file: BinaryIO, magic: bytes) -> bool:
    file.seek(0)
    start = file.read(len(magic))
    file.seek(0)
    return start == magic


def _take_nifti(context: WebContext, user: UserRow, upload: Upload) -> UploadAnswer:
    roles = _roles(upload)
    for number, (file, role) in enumerate(zip(upload.files, roles, strict=True), start=1):
        try:
            check_nifti(file.file, max_bytes=context.settings.max_volume_bytes)
        except NiftiTooLarge as error:
            raise Problem(413, "nifti-too-large", f"File {number} ({role.value}): {error}.") from error
        except NiftiRefused as error:
            raise Problem(422, "nifti-refused", f"File {number} ({role.value}): {error}.") from error
    scan_id = str(uuid.uuid4())
    try:
        for file, role in zip(upload.files, roles, strict=True):
            _keep(context.files, scan_id, file.file, role)
        scan = _scan_row(context, user, upload, scan_id, roles)
    except BaseException:
        shutil.rmtree(context.files.upload_folder(scan_id), ignore_errors=True)
        raise
    context.requests.add(scan.id, RequestKind.PROCESS_NOW, user_id=user.id)
    return UploadAnswer(scans=[summary(scan)], received=len(roles))


def _roles(upload: Upload) -> list[SeriesRole]:
    given = upload.roles + ("",) * (len(upload.files) - len(upload.roles))
    roles: list[SeriesRole] = []
    for number, (file, word) in enumerate(zip(upload.files, given, strict=False), start=1):
        try:
            role = SeriesRole(word.strip().upper()) if word.strip() else role_from_name(file.filename or "")
        except UnclearName as error:
            raise Problem(422, "role-unclear", f"File {number}: {error}.") from error
        except ValueError as error:
            words = ", ".join(SeriesRole)
            raise Problem(422, "role-unknown", f"File {number}: a role is one of {words}.") from error
        if role in roles:
            raise Problem(422, "role-twice", f"Files {roles.index(role) + 1} and {number} are both {role.value}.")
        roles.append(role)
    return roles


def _keep(files: FileStore, scan_id: str, file: BinaryIO, role: SeriesRole) -> None:
    """Keep the bytes as sent, as uploads/<scan>/<role>.nii or .nii.gz: names by which the pipeline knows the role."""
    name = f"{role.value.lower()}.nii" + (".gz" if is_gzip(file) else "")
    with files.new_spool_file() as spool:
        while block := file.read(_BLOCK_BYTES):
            spool.write(block)
        files.commit_upload(spool, scan_id, name)


def _scan_row(context: WebContext, user: UserRow, upload: Upload, scan_id: str, roles: Sequence[SeriesRole]) -> ScanRow:
    now = context.clock()
    return context.scans.create_upload(
        Source.UPLOAD_NIFTI,
        user_id=user.id,
        patient_id=upload.patient_id or automatic_patient_id(now),
        patient_name=upload.patient_name,
        scan_date=now.date().isoformat(),
        modalities=[role.value for role in CHANNEL_ORDER if role in roles],
        scan_id=scan_id,
    )


def automatic_patient_id(now: datetime) -> str:
    """Return an ID that cannot be taken for a hospital's, e.g. 'AUTO-20260131-9F3A61C2'."""
    return f"AUTO-{now:%Y%m%d}-{secrets.token_hex(4).upper()}"


def _take_dicom(context: WebContext, user: UserRow, archives: Sequence[UploadFile]) -> UploadAnswer:
    settings = context.settings
    scan_ids: dict[str, None] = {}
    received = duplicates = offset = 0
    refused: list[Refusal] = []
    for archive in archives:
        number = 0
        try:
            for number, spool in unpacked_members(
                archive.file,
                new_file=context.files.new_spool_file,
                max_members=settings.max_archive_members,
                max_bytes=settings.max_archive_bytes,
            ):
                outcome = context.ingest.ingest_dicom(spool.path, calling="WEB", user_id=user.id)
                if outcome.scan_id is not None:
                    scan_ids[outcome.scan_id] = None
                received += outcome.result is Ingested.NEW
                duplicates += outcome.result is Ingested.DUPLICATE
                if outcome.result in (Ingested.REFUSED, Ingested.CONFLICT):
                    reason = outcome.reason or "other bytes are stored under this UID; both were kept"
                    refused.append(Refusal(number=offset + number, reason=reason))
        except ArchiveTooLarge as error:
            raise Problem(413, "archive-too-large", f"Not taken: {error}.") from error
        except ArchiveRefused as error:
            raise Problem(422, "archive-refused", f"Not taken: {error}.") from error
        offset += number
    if not scan_ids:
        first = f" The first: {refused[0].reason}." if refused else ""
        raise Problem(422, "no-dicom", f"None of the {offset} files in the archive could be taken as DICOM.{first}")
    scans = [summary(context.scans.get(scan_id)) for scan_id in scan_ids]
    return UploadAnswer(scans=scans, received=received, duplicates=duplicates, refused=refused)
