"""C-GET and C-MOVE to ourselves: objects of a PACS brought here, in the syntax the PACS has them in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.outbound.asking import ReceivedObject, Retrieved, Take
from dicom_node.outbound.association import (
    HostUnknown,
    all_contexts_refused,
    association,
    why_class_refused,
    why_not_established,
)
from dicom_node.outbound.find import DicomFind
from dicom_node.outbound.sending import Destination

_GET = StudyRootQueryRetrieveInformationModelGet
_MOVE = StudyRootQueryRetrieveInformationModelMove
_PENDING = frozenset({0xFF00, 0xFF01})
_OUT_OF_RESOURCES = 0xA700
#: Classic, enhanced and legacy-converted enhanced MR: what the analysis reads.
RETRIEVED_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
#: One context each, so that the PACS sends every object as it has it.
RETRIEVED_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
)
#: UIDs in one request: a list of UIDs is one value of a limited message.
_AT_ONCE = 100


class DicomPacs(DicomFind):
    """A DICOM PACS to ask and to retrieve from. See `asking.PacsQuery`.

    by: 'get' brings objects on our own association; 'move' has the PACS send them to our listener, under our title.
    retrieve_timeout_s: for one retrieval as a whole.
    """

    def __init__(
        self, destination: Destination, our_ae_title: str, *, by: Literal["get", "move"], retrieve_timeout_s: float
    ) -> None:
        super().__init__(destination, our_ae_title)
        self._by = by
        self._retrieve_timeout_s = retrieve_timeout_s

    def retrieve(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str], take: Take
    ) -> Retrieved:
        """Bring instances of one series here. A peer that is down, slow or refuses is in the answer's text."""
        retrieval = _Retrieval(take, time.monotonic() + self._retrieve_timeout_s)
        try:
            for start in range(0, len(sop_instance_uids), _AT_ONCE):
                wanted = sop_instance_uids[start : start + _AT_ONCE]
                retrieval.text = self._request(retrieval, study_instance_uid, series_instance_uid, wanted)
                if retrieval.text:
                    break
        except HostUnknown as error:
            retrieval.text = str(error)
        arrived = retrieval.completed if self._by == "move" else retrieval.kept
        return Retrieved(arrived=arrived, failed=len(sop_instance_uids) - arrived, text=retrieval.text)

    def _request(self, retrieval: _Retrieval, study_uid: str, series_uid: str, wanted: Sequence[str]) -> str:
        model = _GET if self._by == "get" else _MOVE
        contexts: list[tuple[str, str | None]] = [(model, None)]
        if self._by == "get":
            contexts += [(sop_class, syntax) for sop_class in RETRIEVED_CLASSES for syntax in RETRIEVED_SYNTAXES]
        with association(
            self._destination,
            self._our_ae_title,
            contexts,
            acting_as_scp=RETRIEVED_CLASSES if self._by == "get" else (),
            handlers=[(evt.EVT_C_STORE, retrieval.store)],
            answer_timeout_s=self._retrieve_timeout_s,
        ) as peer:
            if all_contexts_refused(peer):
                return why_class_refused(peer, model)
            if not peer.is_established:
                return f"no association: {why_not_established(peer)}"
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, series_uid
            query.SOPInstanceUID = list(wanted)
            try:
                return retrieval.follow(peer, self._responses(peer, query))
            except ValueError:
                return why_class_refused(peer, model)
            except RuntimeError:
                return "the association ended early"

    def _responses(self, peer: Any, query: Dataset) -> Iterator[tuple[Any, Any]]:
        if self._by == "get":
            return iter(peer.send_c_get(query, _GET))
        return iter(peer.send_c_move(query, self._our_ae_title, _MOVE))


class _Retrieval:
    """One retrieval under way. kept: objects `take` kept; completed: those the peer says it sent."""

    def __init__(self, take: Take, deadline: float) -> None:
        self._take = take
        self._deadline = deadline
        self.kept = 0
        self.completed = 0
        self.text = ""

    def store(self, event: evt.Event) -> int:
        """Answer one C-STORE of a C-GET: success when the object is kept, never before."""
        if time.monotonic() > self._deadline:
            return _OUT_OF_RESOURCES
        request: Any = event.request
        taken = self._take(
            ReceivedObject(
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                transfer_syntax_uid=str(event.context.transfer_syntax),
                data_set=request.DataSet.getvalue(),
            )
        )
        self.kept += taken
        return 0x0000 if taken else _OUT_OF_RESOURCES

    def follow(self, peer: Any, responses: Iterator[tuple[Any, Any]]) -> str:
        """Read the responses to their end; "" or one line on what did not work."""
        status = None
        for answer, _ in responses:
            status = getattr(answer, "Status", None)
            if status in _PENDING:
                if time.monotonic() > self._deadline:
                    peer.abort()
                    return "not done in time"
                continue
            self.completed += int(getattr(answer, "NumberOfCompletedSuboperations", 0) or 0)
            break
        if status == 0x0000:
            return ""
        return "no answer in time" if status is None else f"retrieve status 0x{status:04X}"
