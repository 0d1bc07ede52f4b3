"""The C-STORE data path on an established association, taken over from pynetdicom on its own socket.

pynetdicom's upper layer asks its socket whether there is something to read. This socket reads C-STORE requests and
their data sets itself, has them kept, answers them, and says no; any other PDU it gives back as it came, and says yes.
All of it runs in the upper layer's thread, which alone writes to the connection.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from collections.abc import Callable, Collection
from typing import Any

from pynetdicom import events as evt

from dicom_node.inbound.fast.messages import MessageReader, NotOurs, Refused
from dicom_node.inbound.fast.reception import Reception
from dicom_node.inbound.fast.source import AGAIN, ByteSource, Interrupted, PeerGone, TooSlow
from dicom_node.inbound.fast.wire import store_response
from dicom_node.inbound.ingest import Claim
from dicom_node.inbound.transport import GuardedSocket, Limits
from dicom_node.inbound.wire_limits import ABORT_PDU

_log = logging.getLogger(__name__)

#: While objects flow the thread waits here for the next one, instead of looking once a millisecond.
_LINGER_S = 0.05
#: Without a new object for as long pynetdicom has the association back, with its timers.
_CALM_S = 0.3
_ESTABLISHED = "Sta6"
_CONNECTION_CLOSED = "Evt17"


class FastSocket(GuardedSocket):
    """A guarded socket that serves C-STORE itself.

    Args:
        storage_classes: SOP classes whose C-STORE is served here.
        begin_reception: makes what keeps the objects of one association.
    """

    def __init__(
        self,
        assoc: Any,
        client_socket: socket.socket,
        limits: Limits,
        storage_classes: Collection[str],
        begin_reception: Callable[[], Reception],
    ) -> None:
        super().__init__(assoc, client_socket, limits)
        self._storage_classes = storage_classes
        self._begin_reception = begin_reception
        self._reception: Reception | None = None
        self._source = ByteSource(client_socket, self._is_interrupted)
        self._messages = MessageReader(self._source, limits, self._sop_class_of)
        self._storing = False
        self._served_at = 0.0
        self._broken_off = False
        self._asked = 0
        self._contexts: dict[int, tuple[str, str]] = {}
        self._calling_title = ""
        self._answer_bytes = 0
        assoc.bind(evt.EVT_DIMSE_SENT, self._note_sent)

    @property
    def ready(self) -> bool:
        """Whether pynetdicom has something to read. Serves C-STORE on the way."""
        if self._handed:
            return True
        if self.socket is None or not self._is_connected or self._broken_off:
            return False
        dul = self.assoc.dul
        if dul.state_machine.current_state != _ESTABLISHED or self.assoc.dimse.message is not None:
            return bool(self._source.staged) or bool(super().ready)
        if not dul.event_queue.empty():
            return False
        try:
            return self._serve()
        except PeerGone:
            self._end()
        except (Refused, TooSlow) as error:
            _log.warning("association of %r aborted: %s", self._calling_ae(), error)
            with contextlib.suppress(PeerGone, TooSlow):
                self._send_now(ABORT_PDU)
            self._end()
        except Interrupted:
            # In the middle of a message: nothing that still comes can be read, but an abort can be sent.
            self._broken_off = True
            self._give_back(is_response=False)
        except Exception:  # whatever it is, it ends this association and no other
            _log.exception("association of %r ended", self._calling_ae())
            self._end()
        return False

    def _serve(self) -> bool:
        dul = self.assoc.dul
        if not self._contexts:
            self._note_negotiated()
        while self._source.wait(_LINGER_S if self._storing else 0.0):
            try:
                self._store_one()
            except NotOurs as other:
                self._give_back(other.is_response)
                self._handed += other.data
                return True
            if dul.to_provider_queue.queue or dul._kill_thread:
                return False
        if self._storing and time.monotonic() - self._served_at > _CALM_S:
            self._give_back(is_response=False)
        return False

    def _store_one(self) -> None:
        request, context_id = self._messages.begin()
        self._take()
        claim = Claim(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=self._contexts[context_id][1],
            calling_ae=self._calling_title,
        )
        reception = self._reception = self._reception or self._begin_reception()
        reception.begin(claim)
        try:
            self._messages.data_set(context_id, reception)
        except BaseException:
            reception.discard()
            raise
        answer = reception.finish()
        self._send_now(store_response(request, answer, context_id, self._answer_bytes))
        self._served_at = time.monotonic()

    def _note_negotiated(self) -> None:
        """Keep what each object needs of the association's negotiation, which is over."""
        for context_id, context in self.assoc._accepted_cx.items():
            sop_class = str(context.abstract_syntax)
            ours = sop_class in self._storage_classes and context.as_scp
            self._contexts[context_id] = sop_class if ours else "", str(context.transfer_syntax[0])
        self._calling_title = self._calling_ae()
        self._answer_bytes = int(self.assoc.requestor.maximum_length or 0)

    def _sop_class_of(self, context_id: int) -> str | None:
        """The storage class negotiated under a context ID, '' for another service's, None for no context at all."""
        context = self._contexts.get(context_id)
        return None if context is None else context[0]

    def _take(self) -> None:
        """Pause the association's own thread: it would look for messages a thousand times a second."""
        if not self._storing:
            self._storing = True
            self.socket.settimeout(0)
            self.assoc._reactor_checkpoint.clear()

    def _give_back(self, is_response: bool) -> None:
        if not self._storing:
            return
        self._storing = False
        with contextlib.suppress(OSError):
            self.socket.settimeout(self._limits.pdu_seconds)
        self.assoc.dul._idle_timer.restart()
        if is_response and self._asked:
            # It is awaited by a thread that paused the association too, and will let it go on.
            self._asked -= 1
        else:
            self.assoc._reactor_checkpoint.set()

    def _note_sent(self, event: Any) -> None:
        if type(event.message).__name__.endswith("_RQ"):
            self._asked += 1

    def _shutdown_socket(self) -> None:
        # Every end of a connection comes here: the association's thread must see it, and the buffer is not left to
        # the garbage collector.
        super()._shutdown_socket()
        self.assoc._reactor_checkpoint.set()
        self._reception = None

    def _end(self) -> None:
        """The connection is of no more use; the state machine is told."""
        self._hang_up()
        self._give_back(is_response=False)
        self.event_queue.put(_CONNECTION_CLOSED)

    def _read(self, nr_bytes: int) -> bytearray:
        received = self._handed[:nr_bytes]
        del self._handed[:nr_bytes]
        if len(received) == nr_bytes:
            return received
        try:
            received += self._source.take(nr_bytes - len(received), time.monotonic() + self._limits.pdu_seconds)
        except PeerGone:
            self._hang_up()
        except (TooSlow, Interrupted) as error:
            raise self._refused(f"a PDU took longer than {self._limits.pdu_seconds} s") from error
        return received

    def _send_now(self, data: bytes) -> None:
        connection = self.socket
        deadline = time.monotonic() + self._limits.pdu_seconds
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[connection.send(rest) :]
            except AGAIN:
                poll = select.poll()
                poll.register(connection, select.POLLOUT)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise TooSlow("the peer takes no answer") from None
            except OSError as error:
                raise PeerGone from error

    def _is_interrupted(self) -> bool:
        return bool(self.assoc.dul._kill_thread or self.assoc._kill or self.assoc._sent_abort)

    def _calling_ae(self) -> str:
        return str(self.assoc.requestor.ae_title or "").strip(" \0")
