"""A PACS with bad manners, in this process: it stores SEG and SR, and does what a round of the fault campaign asks."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.commitment import exchange
from dicom_node.commitment.data import NO_SUCH_INSTANCE, PUSH_MODEL, CommitmentReport
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, OutgoingObject
from tests.orthanc import free_port

_OUT_OF_RESOURCES = 0xA700


@dataclass(frozen=True, kw_only=True)
class Held:
    """One object as the PACS holds it. sha256: of its data set's bytes."""

    study_instance_uid: str
    sop_class_uid: str
    sha256: str


class FaultyPacs:
    """Stores what comes, commits itself to what it holds.

    slow_s, slow: the next `slow` objects are stored and answered only after slow_s. refuse: the next are answered
    0xA700. deny: the next commitment requests are reported as failed and their objects dropped. echo_to: every object
    is sent back there, as an auto-routing PACS does.
    """

    ae_title = "TESTPACS"
    host = "127.0.0.1"

    def __init__(self) -> None:
        self.dicom_port = free_port()
        self.held: dict[str, Held] = {}
        self.arrivals: Counter[str] = Counter()
        self.changed = 0
        self.slow = self.refuse = self.deny = 0
        self.slow_s = 0.0
        self.echo_to: Destination | None = None
        self.echoed = 0
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        ae = AE(ae_title=self.ae_title)
        for sop_class in (SegmentationStorage, Comprehensive3DSRStorage, PUSH_MODEL):
            ae.add_supported_context(sop_class)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._requested)]
        self._server = ae.start_server((self.host, self.dicom_port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        """Down: connections are refused until the next `start`."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None
        while self._threads:
            self._threads.pop().join(30)

    def results_of(self, study_instance_uid: str) -> tuple[int, int]:
        """How many SEG and SR it holds of a study."""
        held = list(self.held.values())
        classes = Counter(one.sop_class_uid for one in held if one.study_instance_uid == study_instance_uid)
        return classes[SegmentationStorage], classes[Comprehensive3DSRStorage]

    def _take(self, what: str) -> bool:
        with self._lock:
            left = getattr(self, what)
            setattr(self, what, max(0, left - 1))
        return bool(left)

    def _store(self, event: evt.Event) -> int:
        if self._take("refuse"):
            return _OUT_OF_RESOURCES
        uid = str(event.request.AffectedSOPInstanceUID)
        data = event.request.DataSet.getvalue()
        sop_class = str(event.request.AffectedSOPClassUID)
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self.arrivals[uid] += 1
            self.changed += uid in self.held and self.held[uid].sha256 != digest
            study = str(event.dataset.StudyInstanceUID)
            self.held[uid] = Held(study_instance_uid=study, sop_class_uid=sop_class, sha256=digest)
        if self._take("slow"):
            time.sleep(self.slow_s)
        if self.echo_to is not None:
            self._in_background(self._echo, event.encoded_dataset(), uid, sop_class, str(event.context.transfer_syntax))
        return 0x0000

    def _echo(self, file: bytes, uid: str, sop_class: str, syntax: str) -> None:
        assert self.echo_to is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "echo.dcm"
            path.write_bytes(file)
            sent = OutgoingObject(path=path, sop_class_uid=sop_class, sop_instance_uid=uid, transfer_syntax_uid=syntax)
            DicomSender(self.echo_to, self.ae_title).send([sent])
        self.echoed += 1

    def _requested(self, event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        named = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in information.ReferencedSOPSequence
        ]
        denied = self._take("deny")
        with self._lock:
            if denied:
                for _, uid in named:
                    self.held.pop(uid, None)
            report = CommitmentReport(
                transaction_uid=str(information.TransactionUID),
                committed=tuple(one for one in named if one[1] in self.held),
                failed=tuple((one, NO_SUCH_INSTANCE) for one in named if one[1] not in self.held),
            )
        self._in_background(exchange.send_report, event.assoc, report)
        return 0x0000, None

    def _in_background(self, action: Any, *arguments: Any) -> None:
        keywords = {"timeout_s": 10} if action is exchange.send_report else {}
        thread = threading.Thread(target=action, args=arguments, kwargs=keywords, daemon=True)
        self._threads.append(thread)
        thread.start()
