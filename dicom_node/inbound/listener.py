"""The listening socket: connections go through the gate, and those that pass become associations of pynetdicom's."""

from __future__ import annotations

import logging
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import events as evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_node.inbound.gate import Gate, Opening
from dicom_node.inbound.peers import ALL_SERVICES, Peer, Refusal, RefusalReason, ServiceName, admit
from dicom_node.inbound.refusal_log import RefusalLog
from dicom_node.inbound.transport import GuardedSocket, Limits
from storage.errors import StorageError

_log = logging.getLogger(__name__)

#: From an association, its connection and the limits to the association's socket.
SocketMaker = Callable[[Any, socket.socket, Limits], GuardedSocket]

#: A-ASSOCIATE-RJ, transient, by the presentation layer of the provider: temporary congestion, local limit exceeded.
_CONGESTED, _LIMIT_EXCEEDED = (2, 3, 1), (2, 3, 2)
_MOST_WAITING = 200


@dataclass(frozen=True, kw_only=True)
class Door:
    """The rules of a listener.

    most: associations at once. service_of: from a SOP class to the service it belongs to. pressure: why nothing can be
    taken just now, '' where it can. tls: None is plain DICOM.
    """

    ae_title: str
    limits: Limits
    most: int
    service_of: Callable[[str], ServiceName | None]
    refusals: RefusalLog
    peers: Sequence[Peer] = ()
    tls: ssl.SSLContext | None = None
    pressure: Callable[[], str] = lambda: ""
    make_socket: SocketMaker = field(default=GuardedSocket)


class SharedContexts(list[PresentationContext]):
    """Supported contexts that all associations read and none changes: a copy for each took 35 ms."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContexts:
        return self


class GuardedRequestHandler(RequestHandler):  # type: ignore[misc]
    """Makes the association of a connection that passed the gate."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        server: GuardedServer = self.server
        opening, allowed = server.take_opening(self.request)
        # The base class's socket queued 'connection open' (Evt5) on being made, and so will ours: it must come once.
        association.dul.event_queue.queue.clear()
        association.dul.socket = None
        made = server.door.make_socket(association, self.request, server.door.limits)
        made.hand_in(opening.request)
        association.set_socket(made)
        association.bind(evt.EVT_DIMSE_RECV, _message_complete)
        association.dimse.receive_primitive = _guarded(association.dimse.receive_primitive, association)
        if allowed != ALL_SERVICES:
            association.acceptor.supported_contexts = [
                context
                for context in server.contexts
                if server.door.service_of(str(context.abstract_syntax)) in allowed
            ]
            association.bind(evt.EVT_REQUESTED, server.note_refused_services, [opening, allowed])
        return association


def _guarded(receive: Callable[[Any], None], association: Any) -> Callable[[Any], None]:
    """pynetdicom's decoder of commands, ending the association where it meets one it has no words for.

    Left alone, an unknown or missing command field raises in the thread that reads the connection: the thread is gone
    and the peer waits for its timeout.
    """

    def guarded(primitive: Any) -> None:
        try:
            receive(primitive)
        except Exception as error:
            _log.warning("a command that is none ended an association (%s)", type(error).__name__)
            association.dul.event_queue.put("Evt19")  # as pynetdicom does with a command it can read but not use

    return guarded


class GuardedServer(ThreadedAssociationServer):  # type: ignore[misc]
    """pynetdicom's server behind the rules of `door`. Its threads do not outlive the process."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any, door: Door, **kwargs: Any) -> None:
        self.door = door
        kwargs["request_handler"] = GuardedRequestHandler
        super().__init__(*args, **kwargs)
        # From the caller's own arguments: AE, address, title, contexts.
        self.contexts: SharedContexts = SharedContexts(args[3])
        self._openings: dict[socket.socket, tuple[Opening, frozenset[ServiceName]]] = {}
        self._gate = Gate(
            context=door.tls,
            wait_s=door.limits.pdu_seconds,
            most_waiting=_MOST_WAITING + door.most,
            judge=self._judge,
            admit=self._admit,
            note=door.refusals.note,
        )
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="dicom-listener", daemon=True
        )

    def serve_in_background(self) -> None:
        """Accept connections in a thread of its own."""
        self._gate.start()
        self._thread.start()

    def stop_accepting(self) -> None:
        """Close the listening socket and what waits at the gate; associations that are open go on."""
        socketserver.TCPServer.shutdown(self)
        self._thread.join()
        self._gate.stop()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Send an accepted connection to the gate."""
        self._gate.add(request, client_address[:2])

    def take_opening(self, connection: socket.socket) -> tuple[Opening, frozenset[ServiceName]]:
        """What the gate read of a connection that passed, and what its peer may do. Once for each."""
        return self._openings.pop(connection)

    def note_refused_services(self, event: Any, opening: Opening, allowed: frozenset[ServiceName]) -> None:
        """Note what an association asks for and may not have."""
        asked = {self.door.service_of(str(c.abstract_syntax)) for c in event.assoc.requestor.requested_contexts}
        for service in sorted(name for name in asked if name is not None and name not in allowed):
            text = (
                f"AE '{opening.calling_ae}' from {opening.address[0]} asked for {service}: its services in peers are "
                f"{', '.join(sorted(allowed)) or 'none'}"
            )
            refusal = Refusal(reason=RefusalReason.SERVICE, text=text, rejection=(1, 3, 0))
            self.door.refusals.note(refusal, opening.calling_ae, opening.called_ae, opening.address[0])

    def _judge(self, opening: Opening) -> Refusal | None:
        door = self.door
        who = f"AE '{opening.calling_ae}' from {opening.address[0]}"
        verdict = admit(
            door.peers,
            own_ae=door.ae_title,
            called_ae=opening.called_ae,
            calling_ae=opening.calling_ae,
            address=opening.address[0],
        )
        if isinstance(verdict, Refusal):
            return verdict
        if len(self.active_associations) >= door.most:
            text = f"{who} came while {door.most} associations were open, the most that node.max_associations allows"
            return Refusal(reason=RefusalReason.TOO_MANY, text=text, rejection=_LIMIT_EXCEEDED)
        if pressure := self._pressure():
            return Refusal(reason=RefusalReason.PRESSURE, text=f"{who} was sent away: {pressure}", rejection=_CONGESTED)
        self._openings[opening.connection] = opening, verdict
        return None

    def _pressure(self) -> str:
        try:
            return self.door.pressure()
        except StorageError as error:
            return str(error)

    def _admit(self, opening: Opening) -> None:
        try:
            opening.connection.setblocking(True)
            self.finish_request(opening.connection, opening.address)
        except Exception:  # whatever pynetdicom raises over one connection, the gate has to go on
            _log.exception("no association could be made for %s", opening.address[0])
            self._openings.pop(opening.connection, None)
            opening.connection.close()


def _message_complete(event: Any) -> None:
    event.assoc.dul.socket.object_bytes = 0
