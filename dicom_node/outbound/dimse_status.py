"""C-STORE statuses (PS3.4 B.2.3, PS3.7 C) as what is to be done about them."""

from __future__ import annotations

from dicom_node.outbound.sending import Verdict

CLASS_NOT_SUPPORTED = 0x0122


def verdict_of_status(status: int) -> tuple[Verdict, str]:
    """What a C-STORE status means for a delivery, and one line that says so.

    Success and warnings (0xBxxx: stored, perhaps coerced) are sent, and so is a duplicate (0x0111): the peer holds it
    from an attempt whose answer was lost. Out of resources (0xA7xx), processing failure (0x0110) and resource
    limitation (0x0213) pass with time. Every other failure would be the same next time.
    """
    shown = f"status 0x{status:04X}"
    if status == 0x0000:
        return Verdict.SENT, "stored"
    if status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF:
        return Verdict.SENT, f"stored with a warning, {shown}"
    if status == 0x0111:
        return Verdict.SENT, f"the peer held it already, {shown}"
    if status in (0x0110, 0x0213):
        return Verdict.RETRY, f"the peer could not process it now, {shown}"
    if 0xA700 <= status <= 0xA7FF:
        return Verdict.RETRY, f"the peer is out of resources, {shown}"
    if status == CLASS_NOT_SUPPORTED:
        return Verdict.REFUSED, f"the peer does not support the SOP class, {shown}"
    if 0xA900 <= status <= 0xA9FF:
        return Verdict.REFUSED, f"the peer says the data does not match the SOP class, {shown}"
    if 0xC000 <= status <= 0xCFFF:
        return Verdict.REFUSED, f"the peer cannot understand the object, {shown}"
    return Verdict.REFUSED, f"the peer refused the object, {shown}"
