"""C-STORE and C-ECHO as a user of the peer's services."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.sop_class import Verification

from dicom_node.outbound.association import (
    HostUnknown,
    all_contexts_refused,
    association,
    turned_away,
    why_class_refused,
    why_not_established,
)
from dicom_node.outbound.dimse_status import CLASS_NOT_SUPPORTED, verdict_of_status
from dicom_node.outbound.sending import Destination, OutgoingObject, SendOutcome, Verdict

_ANSWERED = "answered"


class DicomSender:
    """Sends over one association with C-STORE; every object goes in the syntax it is stored in where that is taken."""

    def __init__(self, destination: Destination, our_ae_title: str) -> None:
        self._destination = destination
        self._our_ae_title = our_ae_title

    def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        """Send all over one association. See `sending.ResultSender`."""
        if not objects:
            return ()
        try:
            with association(self._destination, self._our_ae_title, _contexts(objects)) as peer:
                if all_contexts_refused(peer):
                    return tuple(_class_refused(peer, item) for item in objects)
                if not peer.is_established:
                    text, away = f"no association: {why_not_established(peer)}", turned_away(peer)
                    return tuple(_outcome(item, Verdict.RETRY, text, turned_away=away) for item in objects)
                taken = {str(context.abstract_syntax) for context in peer.accepted_contexts}
                return tuple(_send_one(peer, item, number, taken) for number, item in enumerate(objects, 1))
        except HostUnknown as error:
            return tuple(_outcome(item, Verdict.RETRY, str(error)) for item in objects)


@dataclass(frozen=True, kw_only=True)
class EchoResult:
    """Whether a peer answered C-ECHO. text: one line; seconds: from the connection to the answer."""

    ok: bool
    text: str
    seconds: float


def echo(destination: Destination, our_ae_title: str) -> EchoResult:
    """Verify a destination with C-ECHO, under the AE title that results will come from."""
    started = time.monotonic()
    try:
        with association(destination, our_ae_title, [(Verification, None)]) as peer:
            text = _echoed(peer)
    except HostUnknown as error:
        text = str(error)
    return EchoResult(ok=text == _ANSWERED, text=text, seconds=time.monotonic() - started)


def _echoed(peer: Any) -> str:
    if not peer.is_established:
        return f"no association: {why_not_established(peer)}"
    if not peer.accepted_contexts:
        return "the peer does not take C-ECHO"
    status = getattr(peer.send_c_echo(), "Status", None)
    if status is None:
        return "no answer to C-ECHO"
    return _ANSWERED if status == 0x0000 else f"C-ECHO status 0x{status:04X}"


def _contexts(objects: Sequence[OutgoingObject]) -> Iterator[tuple[str, str]]:
    """One syntax a context: offered several in one, the peer would choose, perhaps not the stored one."""
    for sop_class_uid, syntax in dict.fromkeys((o.sop_class_uid, o.transfer_syntax_uid) for o in objects):
        yield sop_class_uid, syntax
        if syntax == ExplicitVRLittleEndian:
            yield sop_class_uid, ImplicitVRLittleEndian


def _send_one(peer: Any, item: OutgoingObject, number: int, taken: set[str]) -> SendOutcome:
    if item.sop_class_uid not in taken:
        return _class_refused(peer, item)
    if not peer.is_established:
        return _outcome(item, Verdict.RETRY, "the association ended before this object")
    try:
        response = peer.send_c_store(dcmread(item.path), msg_id=(number - 1) % 65535 + 1)
    except RuntimeError:
        # The peer ended the association between our look at it and the send.
        return _outcome(item, Verdict.RETRY, "the association ended before this object")
    except ValueError:
        return _outcome(item, Verdict.REFUSED, f"the peer does not take the syntax {item.transfer_syntax_uid}")
    # The library answers an abort or a time-out with an empty dataset.
    status = getattr(response, "Status", None)
    if status is None:
        return _outcome(item, Verdict.RETRY, "no answer: time-out, or the peer ended the connection")
    verdict, text = verdict_of_status(int(status))
    return SendOutcome(
        sop_instance_uid=item.sop_instance_uid,
        verdict=verdict,
        text=text,
        status=int(status),
        class_refused=status == CLASS_NOT_SUPPORTED,
    )


def _class_refused(peer: Any, item: OutgoingObject) -> SendOutcome:
    text = why_class_refused(peer, item.sop_class_uid)
    return SendOutcome(sop_instance_uid=item.sop_instance_uid, verdict=Verdict.REFUSED, text=text, class_refused=True)


def _outcome(item: OutgoingObject, verdict: Verdict, text: str, *, turned_away: bool = False) -> SendOutcome:
    return SendOutcome(sop_instance_uid=item.sop_instance_uid, verdict=verdict, text=text, turned_away=turned_away)
