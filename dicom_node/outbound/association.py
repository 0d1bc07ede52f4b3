"""One association to a destination, closed to the last socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, evt

from dicom_node.errors import Transient
from dicom_node.outbound.sending import Destination

#: How long to wait for the library's thread of an association that has ended.
_JOIN_S = 5.0


class _RequestingEntity(AE):  # type: ignore[misc]  # pynetdicom carries no types here
    """An AE that remembers the sockets it opened.

    pynetdicom 3.0 shuts a socket down and closes it in one `try`: where the peer is gone the first fails, and the
    socket stays open until it is collected.
    """

    def __init__(self, ae_title: str) -> None:
        super().__init__(ae_title=ae_title)
        self.opened: list[socket.socket] = []

    def _create_socket(self, *args: Any, **kwargs: Any) -> Any:
        wrapped = super()._create_socket(*args, **kwargs)
        if wrapped.socket is not None:
            self.opened.append(wrapped.socket)
        return wrapped


class HostUnknown(Transient):
    """A destination's host name has no address now; name servers come back."""

    code = "host-unknown"

    def __init__(self, destination: Destination, error: OSError) -> None:
        super().__init__(
            f"destination '{destination.name}': host '{destination.host}' has no address: {error.strerror}"
        )


@contextmanager
def association(
    destination: Destination, our_ae_title: str, contexts: Iterable[tuple[str, str | None]]
) -> Iterator[Any]:
    """A pynetdicom Association, established or not; released and closed at the end.

    contexts: (abstract syntax, transfer syntax, or None for the uncompressed ones).

    Raises:
        HostUnknown: the name has no address.
    """
    ae = _RequestingEntity(our_ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    for abstract_syntax, transfer_syntax in contexts:
        if transfer_syntax is None:
            ae.add_requested_context(abstract_syntax)
        else:
            ae.add_requested_context(abstract_syntax, transfer_syntax)
    try:
        requested = ae.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_without_delay)],
        )
    except OSError as error:
        raise HostUnknown(destination, error) from error
    try:
        yield requested
    finally:
        if requested.is_established:
            requested.release()
        if requested.is_alive():
            requested.join(_JOIN_S)
        for opened in ae.opened:
            opened.close()


def why_not_established(requested: Any) -> str:
    """One line on an association that did not come about."""
    if requested.is_rejected:
        answer = requested.acceptor.primitive
        return f"rejected by the peer ({answer.result_str}: {answer.reason_str})"
    if requested.is_aborted:
        return "no connection, no answer in time, or aborted by the peer"
    return "the connection could not be opened"


def _send_without_delay(event: evt.Event) -> None:
    """Switch Nagle's algorithm off: with it each object waits 40 ms for the peer's delayed acknowledgement."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
