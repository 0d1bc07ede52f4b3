"""Erasing a patient on request, with a receipt: what went, where was searched, and what was still found.

The receipt names the patient by a pseudonym that only who has the node's secret and the Patient ID can make again. Its
hash stands in the sealed audit trail.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent
from dicom_node.store import Store
from storage.audit_chain import AUDIT_PREFIX
from storage.durable import faults_named
from storage.erasing import erase
from storage.patients import compact, erase_strays, rows_of_patient, tables_with
from storage.scan_care import ScanCareRepository

ACTION = f"{AUDIT_PREFIX}erase-patient"
#: A shorter Patient ID stands in too many files by chance to prove anything.
_SHORTEST = 4


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

    Cut off half way, it is done anew with the same arguments; the receipt then tells of the rest.

    Raises:
        ErasureRefused: nothing was erased. StorageError: it was cut off.
    """
    rows = rows_of_patient(store.database, patient_id, issuer)
    obstacles = [f"scan {scan.scan_id}: {scan.obstacle}" for scan in rows.scans if scan.obstacle]
    if obstacles:
        raise ErasureRefused("nothing was erased. " + "; ".join(obstacles))
    if not rows.scans and not rows.strays:
        raise ErasureRefused("nothing was erased: nobody of this Patient ID is here")
    care = ScanCareRepository(store.database)
    for scan in rows.scans:
        if not scan.deleted:
            care.delete(scan.scan_id, by)
        erase(store.database, store.files, scan.scan_id, by)
    if issuer is None:
        erase_strays(store.database, store.files, patient_id)
    compact(rows_url)
    words = frozenset(word for word in rows.words if len(word) >= _SHORTEST)
    searched, found = _search(store.files.root, words)
    left = (*found, *(f"table {name}" for name in tables_with(store.database, words)))
    removed = [path for scan in rows.scans for path in scan.files] + list(rows.strays)
    receipt = Receipt(
        patient_pseudonym=pseudonym(secret, patient_id),
        at=at.isoformat(),
        by=by,
        software_version=software_version,
        scans=tuple(scan.scan_id for scan in rows.scans),
        files=tuple(hashlib.sha256(path.encode()).hexdigest() for path in removed),
        searched=searched,
        left=left,
        not_searched="" if len(words) == len(rows.words) else "a Patient ID or name of fewer than four characters",
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
    after = 0
    while entries := store.audit.list(kind=ACTION, after_id=after):
        if any(entry.data.get("receipt") == receipt.sha256 for entry in entries):
            return
        after = entries[-1].id
    raise ReceiptInvalid("the audit trail has no entry of this receipt")


def _search(root: Path, words: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """How many files below `root` were read, and those that hold a word in any encoding a file here may have."""
    needles = sorted({word.encode(code) for word in words for code in _encodings(word)})
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    return len(files), tuple(path.relative_to(root).as_posix() for path in files if _holds(path, needles))


def _encodings(word: str) -> Sequence[str]:
    return [code for code in ("utf-8", "latin-1", "utf-16-le") if _can(word, code)]


def _can(word: str, code: str) -> bool:
    try:
        word.encode(code)
    except UnicodeEncodeError:
        return False
    return True


def _holds(path: Path, needles: Sequence[bytes]) -> bool:
    with faults_named("searching a file", path), path.open("rb") as stream:
        if path.stat().st_size == 0:
            return False
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(needle) >= 0 for needle in needles)
