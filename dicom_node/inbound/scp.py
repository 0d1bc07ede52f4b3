"""The listener: C-ECHO and C-STORE. The only place where an outcome becomes a DIMSE status.

Success (0x0000) is answered after the object's file is synced and its row committed, never before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config
from pynetdicom import events as evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from dicom_node.inbound.ingest import Claim, Ingest, Receipt, Taken
from dicom_node.inbound.parsing import GE_PRIVATE_IMPLICIT_BIG_ENDIAN
from dicom_node.inbound.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.inbound.transport import GuardedServer, Limits
from storage.errors import StorageError

_log = logging.getLogger(__name__)

# pynetdicom's own handlers format every PDU for a log nobody reads, and data sets with patient names.
_config.LOG_HANDLER_LEVEL = "none"

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

#: Vendors' private storage classes met in MR studies: stored like the rest, never analysed.
_PRIVATE_CLASSES = (
    "1.3.12.2.1107.5.9.1",
    "1.3.46.670589.2.3.1.1",
    "1.3.46.670589.5.0.1",
    "1.3.46.670589.5.0.2",
    "1.3.46.670589.11.0.0.12.1",
    "1.3.46.670589.11.0.0.12.2",
    "1.3.46.670589.11.0.0.12.4",
    "1.2.840.113619.4.27",
    "1.2.840.113619.4.30",
)

_MAX_PDU_BYTES = 1 << 18


class StorageServer:
    """One AE that stores what it is sent. Threads of its own; `start` returns once it listens.

    Args:
        peers: AE titles that may associate; empty means any.
        port: 0 takes a free one, see `port` after `start`.
        max_object_bytes: a larger message closes its association.
    """

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        ingest: Ingest,
        peers: Sequence[str] = (),
        max_associations: int = 25,
        max_object_bytes: int = 2 << 30,
        association_timeout_s: float = 10.0,
        idle_timeout_s: float = 60.0,
    ) -> None:
        self._ingest = ingest
        self._address = (host, port)
        self._limits = Limits(
            data_pdu_bytes=_MAX_PDU_BYTES, object_bytes=max_object_bytes, pdu_seconds=association_timeout_s
        )
        self._server: GuardedServer | None = None
        self._ae = AE(ae_title=ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(peers)
        self._ae.maximum_associations = max_associations
        self._ae.maximum_pdu_size = _MAX_PDU_BYTES
        self._ae.acse_timeout = association_timeout_s
        self._ae.network_timeout = idle_timeout_s
        self._ae.dimse_timeout = idle_timeout_s
        self._ae.add_supported_context(Verification)
        # Ours is the order of preference. Explicit before implicit: conversion would cost private elements their VR.
        syntaxes = sorted(
            {*ALL_TRANSFER_SYNTAXES, GE_PRIVATE_IMPLICIT_BIG_ENDIAN}, key=lambda s: (s == ImplicitVRLittleEndian, s)
        )
        for sop_class in (*(c.abstract_syntax for c in AllStoragePresentationContexts), *_PRIVATE_CLASSES):
            self._ae.add_supported_context(sop_class, syntaxes)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or not ours.
        """
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_DIMSE_RECV, _answer_nameless),
        ]
        self._server = self._ae.make_server(
            self._address, evt_handlers=handlers, server_class=GuardedServer, limits=self._limits
        )
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

    def _store(self, event: evt.Event) -> Dataset | int:
        request: Any = event.request
        if request.DataSet is None:
            return _status(CANNOT_UNDERSTAND, "no data set was sent")
        claim = Claim(
            sop_class_uid=_text(request.AffectedSOPClassUID),
            sop_instance_uid=_text(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            calling_ae=_text(event.assoc.requestor.ae_title),
        )
        try:
            receipt = self._ingest.receive(request.DataSet.getvalue(), claim)
        except (StorageError, OSError) as error:
            code = getattr(error, "code", type(error).__name__)
            _log.error("C-STORE from %r not stored: %s", claim.calling_ae, code)
            return _status(OUT_OF_RESOURCES, code)
        return _answer(receipt, claim)


def _answer_nameless(event: evt.Event) -> None:
    """Answer a C-STORE without UIDs: pynetdicom drops it in silence, and the sender would wait for its timeout."""
    message = event.message
    command = message.command_set
    if not isinstance(message, C_STORE_RQ) or "MessageID" not in command:
        return
    if command.get("AffectedSOPClassUID") and command.get("AffectedSOPInstanceUID"):
        return
    response = C_STORE()
    response.MessageIDBeingRespondedTo = command.MessageID
    response.Status = INVALID_SOP_INSTANCE
    event.assoc.dimse.send_msg(response, message.context_id)


def _answer(receipt: Receipt, claim: Claim) -> Dataset | int:
    if receipt.taken.filed:
        return SUCCESS
    _log.warning("C-STORE from %r quarantined as %s: %s", claim.calling_ae, receipt.taken, receipt.reason)
    return _status(_STATUS_OF[receipt.taken], receipt.reason)


def _status(code: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = code
    # LO, 64 characters.
    answer.ErrorComment = comment[:64]
    return answer


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip(" \x00")
