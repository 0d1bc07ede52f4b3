"""One association to a destination, closed to the last socket."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from dicom_node.errors import Transient
from dicom_node.outbound.sending import Destination
from dicom_node.outbound.tls import client_context

#: How long to wait for the library's thread of an association that has ended.
_JOIN_S = 5.0

#: PS3.8 table 9-18.
_CONTEXT_RESULTS = {
    1: "refused by its user",
    2: "refused without a reason",
    3: "SOP class not supported",
    4: "transfer syntax not supported",
}

#: Result 1 of A-ASSOCIATE-RJ (PS3.8 table 9-21): the same request will be rejected again.
_REJECTED_PERMANENT = 1

Handler = tuple[Any, Callable[..., Any]]


class _RequestingEntity(AE):  # type: ignore[misc]  # pynetdicom carries no types here
    """An AE that remembers the sockets it opened.

    pynetdicom 3.0 shuts a socket down and closes it in one `try`: where the peer is gone the first fails, and the
    socket stays open until it is collected.
    """

    def __init__(self, ae_title: str) -> None:
        super().__init__(ae_title=ae_title)
        self.opened: list[socket.socket] = []
        self.connected_once = False

    def _create_socket(self, *args: Any, **kwargs: Any) -> Any:
        wrapped = super()._create_socket(*args, **kwargs)
        if wrapped.socket is not None:
            self.opened.append(wrapped.socket)
        return wrapped

    def connected(self, event: evt.Event) -> None:
        """Switch Nagle's algorithm off: with it each object waits 40 ms for the peer's delayed acknowledgement."""
        self.connected_once = True
        wrapped = event.assoc.dul.socket
        if wrapped is not None and wrapped.socket is not None:
            wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # TLS has put another socket in the place of the first.
            self.opened.append(wrapped.socket)


class _Requested(Association):  # type: ignore[misc]
    """An association whose calls do not wait for a thread that has ended.

    pynetdicom 3.0 waits before each call until the association's own thread stands still, without end where the peer
    aborted in that moment and the thread is gone.
    """

    @property
    def _is_paused(self) -> bool:
        return bool(self.__dict__["_is_paused"]) or not self.is_alive()

    @_is_paused.setter
    def _is_paused(self, paused: bool) -> None:
        self.__dict__["_is_paused"] = paused

    def release(self) -> None:
        """Release, or abort where the association's own thread does not stand still in time."""
        self._reactor_checkpoint.clear()
        deadline = time.monotonic() + _JOIN_S
        while self.is_established and not self._is_paused:
            if time.monotonic() > deadline:
                self.abort()
                return
            time.sleep(0.001)
        super().release()
        self._reactor_checkpoint.set()


class HostUnknown(Transient):
    """A destination's host name has no address now; name servers come back."""

    code = "host-unknown"

    def __init__(self, destination: Destination, error: OSError) -> None:
        super().__init__(
            f"destination '{destination.name}': host '{destination.host}' has no address: {error.strerror}"
        )


@contextmanager
def association(
    destination: Destination,
    our_ae_title: str,
    contexts: Iterable[tuple[str, str | None]],
    *,
    acting_as_scp: Sequence[str] = (),
    handlers: Sequence[Handler] = (),
    answer_timeout_s: float | None = None,
    peer_may_ask: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Any]:
    """A pynetdicom Association, established or not; released and closed at the end.

    contexts: (abstract syntax, transfer syntax, or None for the uncompressed ones). acting_as_scp: those of them for
    which we, who open the association, are the provider. handlers: (event, function) for what the peer asks on it.
    peer_may_ask: it also sends requests of its own, outside the answers to ours.
    answer_timeout_s: longest silence once it is established, where the destination's own time-out is too short.
    tls: used in place of what the destination's own settings would give.

    Raises:
        HostUnknown: the name has no address.
        DestinationTlsInvalid: its certificates or key cannot be used.
    """
    ae = _RequestingEntity(our_ae_title)
    ae.connection_timeout = ae.acse_timeout = destination.timeout_s
    ae.dimse_timeout = answer_timeout_s or destination.timeout_s
    # No limit on silence as such: each question has its own, and we end the association ourselves.
    ae.network_timeout = None
    for abstract_syntax, transfer_syntax in contexts:
        if transfer_syntax is None:
            ae.add_requested_context(abstract_syntax)
        else:
            ae.add_requested_context(abstract_syntax, transfer_syntax)
    request = partial(
        ae.associate,
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        ext_neg=[build_role(uid, scu_role=False, scp_role=True) for uid in acting_as_scp],
        evt_handlers=[(evt.EVT_CONN_OPEN, ae.connected), *handlers],
        tls_args=(tls or client_context(destination), destination.host) if tls or destination.tls else None,
    )
    try:
        started = time.monotonic()
        requested = request()
        if _closed_without_a_word(requested, ae) and time.monotonic() - started < destination.timeout_s / 2:
            # A peer that closes right behind its rejection may take that away with it: asked once more, it says why.
            requested = request()
    except OSError as error:
        raise HostUnknown(destination, error) from error
    requested.__class__ = _Requested
    if not peer_may_ask:
        _keep_answers_for_their_questions(requested)
    try:
        yield requested
    finally:
        if requested.is_established:
            requested.release()
        if requested.is_alive():
            requested.join(_JOIN_S)
        for opened in ae.opened:
            opened.close()


def _closed_without_a_word(requested: Any, ae: _RequestingEntity) -> bool:
    """True where the peer took the connection and ended it without an answer to the request."""
    answered = requested.is_established or requested.is_rejected or all_contexts_refused(requested)
    return ae.connected_once and not answered


def why_not_established(requested: Any) -> str:
    """One line on an association that did not come about."""
    if requested.is_rejected:
        answer = requested.acceptor.primitive
        return f"rejected by the peer ({answer.result_str}: {answer.reason_str})"
    if requested.is_aborted:
        return "no connection, no answer in time, or aborted by the peer"
    return "the connection could not be opened"


def turned_away(requested: Any) -> bool:
    """True where the peer rejected the association and says that it always will."""
    return bool(requested.is_rejected and requested.acceptor.primitive.result == _REJECTED_PERMANENT)


def all_contexts_refused(requested: Any) -> bool:
    """True where the peer accepted the association and no context of it; the library then ends it."""
    return bool(requested.rejected_contexts and not requested.accepted_contexts)


def why_class_refused(requested: Any, sop_class_uid: str) -> str:
    """One line on a SOP class of which the peer accepted no presentation context: each syntax offered, and its word."""
    refused = [context for context in requested.rejected_contexts if context.abstract_syntax == sop_class_uid]
    words = "; ".join(
        f"{UID(context.transfer_syntax[0]).name}: {_CONTEXT_RESULTS.get(context.result, 'refused')}"
        for context in refused
    )
    name = UID(sop_class_uid).name
    named = sop_class_uid if name == sop_class_uid else f"{name} ({sop_class_uid})"
    return f"the peer accepts no context for {named}: {words or 'it did not answer the proposal'}"


def _keep_answers_for_their_questions(requested: Any) -> None:
    """Let the library's own thread take no message: every one that comes answers a call that waits for it.

    pynetdicom 3.0 halts that thread before each call, but takes it for halted where it only was about to go on. On a
    busy machine it then swallows the answer, and the call waits for its time-out.
    """
    take = requested.dimse.get_msg
    requested.dimse.get_msg = lambda block=False: take(block) if block else (None, None)
