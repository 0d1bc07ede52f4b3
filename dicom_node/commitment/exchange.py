"""One request on an association whose other side may be asking too: N-ACTION and N-EVENT-REPORT cross one another.

pynetdicom's own `send_n_*` take whatever message comes next for the response. A peer may report before it has answered
the request, and one that opened the association may send its next C-STORE; either would be lost. Here the response is
recognised as it arrives, and the association's own thread goes on serving the peer.
"""

from __future__ import annotations

import threading
import time
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_messages import N_ACTION_RSP, N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode

from dicom_node.commitment.data import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_ACTION,
    CommitmentReport,
    Reference,
    report_dataset,
    request_dataset,
)

_PROCESSING_FAILURE = 0x0110
_POLL_S = 0.02
#: Message IDs are the sender's own; the peer's requests have theirs.
_MESSAGE_ID = 1


def send_request(
    association: Any, transaction_uid: str, references: list[Reference], *, timeout_s: float
) -> int | None:
    """Ask for commitment; the status of the answer, None where none came."""
    request = N_ACTION()
    request.MessageID = _MESSAGE_ID
    request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(PUSH_MODEL), UID(PUSH_MODEL_INSTANCE)
    request.ActionTypeID = REQUEST_ACTION
    information = request_dataset(transaction_uid, references)
    return _exchange(association, request, "ActionInformation", information, N_ACTION_RSP, timeout_s)


def send_report(association: Any, report: CommitmentReport, *, timeout_s: float) -> int | None:
    """Report on what the peer asked for; the status of the answer, None where none came."""
    request = N_EVENT_REPORT()
    request.MessageID = _MESSAGE_ID
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(PUSH_MODEL), UID(PUSH_MODEL_INSTANCE)
    request.EventTypeID = report.event_type
    information = report_dataset(report)
    return _exchange(association, request, "EventInformation", information, N_EVENT_REPORT_RSP, timeout_s)


def when_answered(answered: threading.Event) -> tuple[Any, Any]:
    """A handler that sets `answered` once our answer to the peer's report is on its way.

    Who releases the association as soon as the report has come may overtake the answer: the peer then reports again.
    """

    def sent(event: evt.Event) -> None:
        if isinstance(event.message, N_EVENT_REPORT_RSP):
            answered.set()

    return evt.EVT_DIMSE_SENT, sent


def _exchange(
    association: Any, request: Any, keyword: str, information: Dataset, response: Any, timeout_s: float
) -> int | None:
    """Send `request` and wait for a message of type `response`. Not to be called on the association's own thread."""
    context = next((one for one in association.accepted_contexts if one.abstract_syntax == PUSH_MODEL), None)
    if context is None or not association.is_established:
        return None
    syntax = context.transfer_syntax[0]
    setattr(request, keyword, BytesIO(encode(information, syntax.is_implicit_VR, syntax.is_little_endian)))
    statuses: list[int] = []
    responded = threading.Event()

    def watch(event: evt.Event) -> None:
        if isinstance(event.message, response):
            statuses.append(int(event.message.command_set.get("Status", _PROCESSING_FAILURE)))
            responded.set()

    association.bind(evt.EVT_DIMSE_RECV, watch)
    try:
        association.dimse.send_msg(request, context.context_id)
        deadline = time.monotonic() + timeout_s
        while association.is_established and time.monotonic() < deadline and not responded.wait(_POLL_S):
            pass
    finally:
        association.unbind(evt.EVT_DIMSE_RECV, watch)
    return statuses[0] if statuses else None
