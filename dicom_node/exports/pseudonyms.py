"""Names that stand for a patient and a study without telling who: the same for the same key, and none without it.

Everything follows from a secret key by HMAC-SHA256, so nothing has to be kept to give a patient one pseudonym and one
shift of dates in every bundle, and nobody who lacks the key can find out what a pseudonym stands for by trying.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import date, timedelta

#: Registered by the DICOM standard itself: classes, syntaxes, well-known instances. They identify nobody.
_STANDARD_ROOT = "1.2.840.10008."
#: Days by which a patient's dates are moved back, at least and at most.
_SHIFT_DAYS = (30, 730)


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Of one patient. key: the node's secret. patient: what tells patients apart; empty where nobody is named."""

    key: bytes = field(repr=False)
    patient: str = field(repr=False)

    def _digest(self, *parts: str) -> bytes:
        told = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self.key, told.encode(), hashlib.sha256).digest()

    @property
    def name(self) -> str:
        """What stands for the patient: `R-` and 16 characters."""
        return "R-" + base64.b32encode(self._digest("patient", self.patient)[:10]).decode()

    @property
    def shift(self) -> timedelta:
        """How far the patient's dates are moved, always back."""
        low, high = _SHIFT_DAYS
        return -timedelta(days=low + int.from_bytes(self._digest("shift", self.patient)[:4]) % (high - low + 1))

    def uid(self, uid: str) -> str:
        """Another UID for one that is not the standard's own; references stay references."""
        if not uid or uid.startswith(_STANDARD_ROOT):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16])}"

    def day(self, text: str) -> str:
        """A DICOM date (YYYYMMDD) moved by the shift; empty for what is no date."""
        try:
            moved = date.fromisoformat(text) + self.shift
        except (ValueError, OverflowError):
            return ""
        return moved.strftime("%Y%m%d")
