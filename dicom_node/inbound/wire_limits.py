"""What the listener reads at most of a peer that it does not know yet, and how it hangs up."""

from __future__ import annotations

#: Any PDU that is not P-DATA-TF, before and after the association: an A-ASSOCIATE-RQ with 128 contexts is about 30 kB.
MAX_CONTROL_PDU_BYTES = 1 << 17

PDU_HEADER_BYTES = 6

#: A-ABORT by the service provider: invalid PDU parameter value (PS3.8 section 9.3.8).
ABORT_PDU = bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 2, 6))
