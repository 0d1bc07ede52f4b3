"""Erasing a patient on request, with a receipt: what went, where was searched, and what was still found.

The receipt names the patient by a pseudonym that only who has the node's secret and the Patient ID can make again. Its
hash stands in the sealed audit trail.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.filed_journals import remove_filed_journals
from dicom_node.store import Store
from storage.audit import EventRow
from storage.audit_chain import AUDIT_PREFIX
from storage.durable import as_storage_error, faults_named
from storage.erasing import erase
from storage.patients import compact, erase_strays, rows_of_patient, tables_with
from storage.scan_care import ScanCareRepository

ACTION = f"{AUDIT_PREFIX}erase-patient"
#: Written before the first row goes: the rows then no longer tell that there is something to go on with.
BEGUN = f"{ACTION}-begun"
#: A shorter Patient ID stands in too many files by chance to prove anything.
_SHORTEST = 4
_CHUNK = 1 << 20


class ErasureRefused(Permanent):
    """Nothing was erased: a scan of the patient cannot go now, or nobody of this Patient ID is here."""

    code = "erasure-refused"


class ReceiptInvalid(Permanent):
    """A receipt that was changed, or whose entry is not in the audit trail."""

    code = "receipt-invalid"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What an erasure came to.

    scans: their ids. files: removed, by SHA-256 of their relative path. searched: files read in the search; left: files
    and tables in which a word of the patient still stands; not_searched: why a word was not looked for.
    """

    patient_pseudonym: str
    at: str
    by: str
    software_version: str
    scans: tuple[str, ...]
    files: tuple[str, ...]
    searched: int
    left: tuple[str, ...]
    not_searched: str = ""
    sha256: str = ""

    @property
    def clean(self) -> bool:
        """Nothing of the patient was found afterwards."""
        return not self.left

    def sealed(self) -> Receipt:
        """With the hash of everything else."""
        told = {name: value for name, value in asdict(self).items() if name != "sha256"}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return replace(self, sha256=digest)

    def to_json(self) -> str:
        """As kept in a file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, data: str) -> Receipt:
        """Raises ReceiptInvalid: not a receipt."""
        try:
            told: dict[str, Any] = json.loads(data)
            told |= {name: tuple(one) for name, one in told.items() if isinstance(one, list)}
            return cls(**told)
        except (ValueError, TypeError, AttributeError):
            raise ReceiptInvalid("not a receipt of `tumor-node erase-patient`") from None


def pseudonym(secret: str, patient_id: str) -> str:
    """The same for the same patient at this node; nobody without the secret can guess it."""
    return hmac.new(secret.encode(), f"erased-patient\n{patient_id.strip()}".encode(), hashlib.sha256).hexdigest()[:32]


def erase_patient(
    store: Store,
    *,
    patient_id: str,
    issuer: str | None,
    by: str,
    at: datetime,
    secret: str,
    rows_url: str,
    software_version: str,
) -> Receipt:
    """Erase every scan of a patient and what was kept apart of them, then search rows and files for what is left.

    Filed journals of listeners that are stopped go too. Cut off, or where something was left, it is done anew with the
    same arguments; the receipt then tells of the rest.

    Raises:
        ErasureRefused: nothing was erased. StorageError: it was cut off, to be done anew.
    """
    rows = rows_of_patient(store.database, patient_id, issuer)
    obstacles = [f"scan {scan.scan_id}: {scan.obstacle}" for scan in rows.scans if scan.obstacle]
    if obstacles:
        raise ErasureRefused("nothing was erased. " + "; ".join(obstacles))
    alias = pseudonym(secret, patient_id)
    before = any(
        entry.data.get("patient_pseudonym") == alias for kind in (BEGUN, ACTION) for entry in _all(store, kind)
    )
    if not rows.scans and not rows.strays and not before:
        raise ErasureRefused("nothing was erased: nobody of this Patient ID is here")
    begun = {"username": by, "outcome": "success", "patient_pseudonym": alias}
    store.audit.append(BEGUN, f"erase-patient by {by} begun: {len(rows.scans)} scans", data=begun)
    care = ScanCareRepository(store.database)
    for scan in rows.scans:
        if not scan.deleted:
            care.delete(scan.scan_id, by)
        erase(store.database, store.files, scan.scan_id, by)
    if issuer is None:
        erase_strays(store.database, store.files, patient_id)
    compact(rows_url)
    remove_filed_journals(store.files)
    words = frozenset(word for word in rows.words if len(word) >= _SHORTEST)
    searched, found = _search(store.files.root, words)
    left = (*found, *(f"table {name}" for name in tables_with(store.database, words)))
    removed = [path for scan in rows.scans for path in scan.files] + list(rows.strays)
    receipt = Receipt(
        patient_pseudonym=alias,
        at=at.isoformat(),
        by=by,
        software_version=software_version,
        scans=tuple(scan.scan_id for scan in rows.scans),
        files=tuple(hashlib.sha256(path.encode()).hexdigest() for path in removed),
        searched=searched,
        left=left,
        not_searched="; ".join(_not_searched(short=len(words) < len(rows.words), before=before)),
    ).sealed()
    data = {"username": by, "outcome": "success" if receipt.clean else "failure", "receipt": receipt.sha256}
    data["patient_pseudonym"] = receipt.patient_pseudonym
    store.audit.append(ACTION, f"erase-patient by {by}: {len(receipt.scans)} scans", data=data)
    return receipt


def verify_receipt(store: Store, receipt: Receipt) -> None:
    """Raises ReceiptInvalid: it was changed, the trail does not hold, or has no entry of it."""
    if receipt.sealed().sha256 != receipt.sha256:
        raise ReceiptInvalid("the receipt was changed: its hash does not hold")
    chain = store.audit.verify()
    if not chain.ok:
        raise ReceiptInvalid(f"the audit trail does not hold: {chain.fault}")
    if not any(entry.data.get("receipt") == receipt.sha256 for entry in _all(store, ACTION)):
        raise ReceiptInvalid("the audit trail has no entry of this receipt")


def _all(store: Store, kind: str) -> Iterator[EventRow]:
    after = 0
    while entries := store.audit.list(kind=kind, after_id=after):
        yield from entries
        after = entries[-1].id


def _not_searched(*, short: bool, before: bool) -> Iterator[str]:
    if short:
        yield "a Patient ID or name of fewer than four characters"
    if before:
        yield "names and study UIDs that an earlier erasure removed"


def _search(root: Path, words: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """How many files below `root` were read, and those that hold a word in any encoding a file here may have.

    The node may be at work: what goes away meanwhile is left out.
    """
    needles = sorted({word.encode(code) for word in words for code in _encodings(word)})
    files = [path for path in sorted(_paths(root)) if path.is_file() and not path.is_symlink()]
    held = {path: holds for path in files if (holds := _holds(path, needles)) is not None}
    return len(held), tuple(path.relative_to(root).as_posix() for path, holds in held.items() if holds)


def _paths(root: Path) -> Iterator[Path]:
    def unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | PermissionError):
            raise as_storage_error(error, "searching a folder", root)

    for folder, _, names in os.walk(root, onerror=unless_gone):
        yield from (Path(folder, name) for name in names)


def _encodings(word: str) -> Sequence[str]:
    return [code for code in ("utf-8", "latin-1", "utf-16-le") if _can(word, code)]


def _can(word: str, code: str) -> bool:
    try:
        word.encode(code)
    except UnicodeEncodeError:
        return False
    return True


def _holds(path: Path, needles: Sequence[bytes]) -> bool | None:
    """Whether a file holds one of the needles; None where it is gone. Raises StorageFault."""
    if not needles:
        return False
    # Not by mapping it: a file that is cut short meanwhile, as a database's log is, would end the process.
    overlap, before = max(map(len, needles)) - 1, b""
    with faults_named("searching a file", path):
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return None
        with stream:
            while chunk := stream.read(_CHUNK):
                data = before + chunk
                if any(needle in data for needle in needles):
                    return True
                before = data[-overlap:]
    return False
