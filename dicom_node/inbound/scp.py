"""The listener: negotiation, policy, C-ECHO and C-STORE.

Success (0x0000) is answered when the object lasts, never before: without a journal after its file is synced and its row
committed, with one after its record there is synced (docs/decisions/0004-receive-path.md).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config
from pynetdicom import events as evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from dicom_node.inbound.answers import (
    CANNOT_UNDERSTAND,
    INVALID_SOP_INSTANCE,
    SUCCESS,
    Answer,
    answer,
    out_of_resources,
)
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.fast.takeover import FastSocket
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.listener import Door, GuardedServer
from dicom_node.inbound.offered import MAX_PDU_BYTES, STORAGE_CLASSES, STORAGE_SYNTAXES
from dicom_node.inbound.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.inbound.peers import Peer, ServiceName
from dicom_node.inbound.receiver_report import ReceiverReport
from dicom_node.inbound.refusal_log import RefusalLog
from dicom_node.inbound.senders import Senders
from dicom_node.inbound.services import Service, handlers_of
from dicom_node.inbound.transport import GuardedSocket, Limits
from storage.clock import utc_now
from storage.errors import StorageError
from storage.receivers import ReceiverRepository
from storage.refusals import RefusalRepository

# pynetdicom's own handlers format every PDU for a log nobody reads, and data sets with patient names.
_config.LOG_HANDLER_LEVEL = "none"

_SETTLES_WITHIN_S = 10.0


class StorageServer:
    """One AE that stores what it is sent. Threads of its own; `start` returns once it listens.

    Args:
        peers: who may associate, for what; empty means anybody for everything.
        port: 0 takes a free one, see `port` after `start`.
        max_object_bytes: a larger message closes its association.
        services: what it offers beside storage and verification.
        journal: where objects go before they are indexed; None is to file each before it is answered, by pynetdicom's
            own data path.
        tls: with it the port speaks TLS only.
        refusals: where refused associations are counted.
        pressure: why no association can be taken just now, '' where one can.
        receivers: where the listener's condition is written.
    """

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        ingest: Ingest,
        peers: Sequence[Peer] = (),
        max_associations: int = 25,
        max_object_bytes: int = 2 << 30,
        association_timeout_s: float = 10.0,
        idle_timeout_s: float = 60.0,
        services: Sequence[Service] = (),
        journal: JournalStore | None = None,
        tls: ssl.SSLContext | None = None,
        refusals: RefusalRepository | None = None,
        pressure: Callable[[], str] = lambda: "",
        receivers: ReceiverRepository | None = None,
    ) -> None:
        self._ingest = ingest
        self._journal = journal
        self._services = tuple(services)
        self._address = (host, port)
        limits = Limits(
            data_pdu_bytes=MAX_PDU_BYTES,
            object_bytes=max_object_bytes,
            pdu_seconds=association_timeout_s,
            idle_seconds=idle_timeout_s,
        )
        self._server: GuardedServer | None = None
        self._ae = AE(ae_title=ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        # Titles, addresses and the number of associations are judged at the gate.
        self._ae.maximum_associations = 1 << 16
        self._ae.maximum_pdu_size = MAX_PDU_BYTES
        self._ae.acse_timeout = association_timeout_s
        self._ae.network_timeout = idle_timeout_s
        self._ae.dimse_timeout = idle_timeout_s
        self._ae.add_supported_context(Verification)
        for sop_class in STORAGE_CLASSES:
            self._ae.add_supported_context(sop_class, list(STORAGE_SYNTAXES))
        for service in self._services:
            for sop_class in service.sop_classes:
                # Either role: the same class carries a peer's requests and a peer's reports on ours.
                self._ae.add_supported_context(sop_class, scu_role=True, scp_role=True)

        self._refusals = RefusalLog(refusals)
        self._door = Door(
            ae_title=ae_title,
            limits=limits,
            most=max_associations,
            service_of=self._service_of,
            refusals=self._refusals,
            peers=peers,
            tls=tls,
            pressure=pressure,
            make_socket=GuardedSocket if journal is None else self._fast_socket,
        )

        self._senders = Senders(STORAGE_CLASSES, utc_now)
        self._report = None if receivers is None else self._reporting(receivers)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or not ours.
        """
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_DIMSE_RECV, _answer_nameless),
            (evt.EVT_ESTABLISHED, lambda event: self._senders.opened(event.assoc)),
            *((event, self._after_indexing(handler)) for event, handler in handlers_of(self._services)),
        ]
        self._server = self._ae.make_server(
            self._address,
            evt_handlers=handlers,
            server_class=GuardedServer,
            door=self._door,
        )
        self._refusals.start()
        if self._report is not None:
            self._report.start()
        if self._journal is not None:
            self._journal.start()
        self._server.serve_in_background()

    @property
    def port(self) -> int:
        """The port it listens on. Raises RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the server was not started")
        return int(self._server.server_address[1])

    def stop(self, drain_s: float = 10.0) -> None:
        """Take no more associations, let those there finish for up to `drain_s` seconds, abort the rest."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.stop_accepting()
        deadline = time.monotonic() + drain_s
        while server.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        for association in server.active_associations:
            association.abort()
        self._refusals.stop()
        if self._report is not None:
            self._report.stop()
        if self._journal is not None:
            self._journal.close()
            if self._report is not None:
                self._report.say_last()

    def settle(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was answered has its row; False where it has not in time."""
        return self._journal is None or self._journal.settle(timeout_s)

    def _reporting(self, receivers: ReceiverRepository) -> ReceiverReport:
        return ReceiverReport(
            receivers,
            "receiver" if self._journal is None else self._journal.name,
            associations=lambda: len(self._server.active_associations) if self._server is not None else 0,
            backlog_bytes=lambda: 0 if self._journal is None else self._journal.backlog_bytes(),
            pressure=self._door.pressure,
            filed_through=lambda: (None, 0) if self._journal is None else self._journal.filed_through(),
            senders=self._senders.now,
            clock=utc_now,
        )

    def _after_indexing(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Other services look at rows: what was answered before has them by then."""

        def handle(event: evt.Event) -> Any:
            self.settle(_SETTLES_WITHIN_S)
            return handler(event)

        return handle

    def _fast_socket(self, association: Any, connection: socket.socket, limits: Limits) -> GuardedSocket:
        assert self._journal is not None
        return FastSocket(association, connection, limits, STORAGE_CLASSES, self._journal.begin_reception)

    def _service_of(self, sop_class: str) -> ServiceName | None:
        if sop_class in STORAGE_CLASSES:
            return ServiceName.STORE
        if sop_class == Verification:
            return ServiceName.ECHO
        # What else the listener offers is storage commitment.
        return ServiceName.COMMITMENT if any(sop_class in service.sop_classes for service in self._services) else None

    def _store(self, event: evt.Event) -> Dataset | int:
        request: Any = event.request
        data_set = b"" if request.DataSet is None else request.DataSet.getvalue()
        if not data_set:  # empty rather than None where the command says that none follows
            return _status(CANNOT_UNDERSTAND, "no data set was sent")
        claim = Claim(
            sop_class_uid=_text(request.AffectedSOPClassUID),
            sop_instance_uid=_text(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            calling_ae=_text(event.assoc.requestor.ae_title),
        )
        given = self._keep(data_set, claim)
        return SUCCESS if given.status == SUCCESS else _status(given.status, given.comment)

    def _keep(self, data_set: bytes, claim: Claim) -> Answer:
        if self._journal is not None:
            return self._journal.begin_reception().store(data_set, claim)
        try:
            return answer(self._ingest.receive(data_set, claim), claim)
        except (StorageError, OSError) as error:
            return out_of_resources(error, claim.calling_ae)


def _answer_nameless(event: evt.Event) -> None:
    """Answer a C-STORE without UIDs: pynetdicom drops it in silence, and the sender would wait for its timeout.

    One without a message id cannot be answered: its association is aborted.
    """
    message = event.message
    command = message.command_set
    if not isinstance(message, C_STORE_RQ):
        return
    if "MessageID" not in command:
        event.assoc.abort(block=False)
        return
    if command.get("AffectedSOPClassUID") and command.get("AffectedSOPInstanceUID"):
        return
    response = C_STORE()
    response.MessageIDBeingRespondedTo = command.MessageID
    response.Status = INVALID_SOP_INSTANCE
    event.assoc.dimse.send_msg(response, message.context_id)


def _status(code: int, comment: str) -> Dataset:
    data_set = Dataset()
    data_set.Status = code
    # LO, 64 characters.
    data_set.ErrorComment = comment[:64]
    return data_set


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip(" \x00")
