"""The only place where an outcome becomes a DIMSE status."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dicom_node.inbound.ingest import Claim, Receipt, Taken

_log = logging.getLogger(__name__)

# PS3.4 table B.2-1, and PS3.7 annex C for 0117H.
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
INVALID_SOP_INSTANCE = 0x0117

_STATUS_OF = {
    Taken.UID_MISMATCH: DATA_SET_MISMATCH,
    Taken.INVALID_UID: INVALID_SOP_INSTANCE,
    Taken.UNREADABLE: CANNOT_UNDERSTAND,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a sender is told. comment: for Error Comment, at most 64 characters (LO); empty with success."""

    status: int
    comment: str = ""


STORED = Answer(status=SUCCESS)


def answer(receipt: Receipt, claim: Claim) -> Answer:
    """The answer to an object that was taken in, or put in quarantine."""
    if receipt.taken.filed:
        return STORED
    _log.warning("C-STORE from %r quarantined as %s: %s", claim.calling_ae, receipt.taken, receipt.reason)
    return Answer(status=_STATUS_OF[receipt.taken], comment=receipt.reason[:64])


def out_of_resources(error: Exception, calling_ae: str) -> Answer:
    """The answer where nothing could be kept."""
    code = str(getattr(error, "code", type(error).__name__))
    _log.error("C-STORE from %r not stored: %s", calling_ae, code)
    return Answer(status=OUT_OF_RESOURCES, comment=code[:64])
