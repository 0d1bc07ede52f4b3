"""Storage commitment at the listener: requests of peers, and their reports on what we asked of them.

A request is a row before it is answered. The report goes out on the association it came by, where the peer waits there;
else the worker sends it on one of ours. What is kept is looked up, file by file, when the report is made.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicom_node.commitment.data import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_ACTION,
    CommitmentDataInvalid,
    CommitmentReport,
    read_request,
)
from dicom_node.commitment.exchange import send_report
from dicom_node.commitment.reports import take_report
from dicom_node.inbound.services import Service
from storage.clock import Clock, utc_now
from storage.commitment_requests import CommitmentRequestRepository, CommitmentRequestRow
from storage.commitments import CommitmentRepository
from storage.errors import Conflict, StorageError
from storage.holdings import Held, Holdings

_log = logging.getLogger(__name__)

# PS3.7 annex C.
_SUCCESS = 0x0000
_NO_SUCH_INSTANCE = 0x0112
_NO_SUCH_ACTION = 0x0123
_INVALID_ARGUMENT = 0x0115

_REASON_OF = {
    Held.MISSING: NO_SUCH_INSTANCE,
    Held.OTHER_CLASS: CLASS_INSTANCE_CONFLICT,
    Held.DAMAGED: PROCESSING_FAILURE,
}

#: Reports being made at once at the listener; a request above that is left to the worker.
_MOST_AT_ONCE = 4
_LOOK_AGAIN_S = 0.05


class CommitmentService:
    """Answers commitment requests and takes commitment reports.

    hold_s: how long the listener keeps a request to itself to answer it on its own association.
    linger_s: how long a peer is given to close the association it asked on, as most do, before we report on it.
    """

    def __init__(
        self,
        requests: CommitmentRequestRepository,
        commitments: CommitmentRepository,
        holdings: Holdings,
        *,
        hold_s: float = 10.0,
        linger_s: float = 0.5,
        clock: Clock = utc_now,
    ) -> None:
        self._requests = requests
        self._commitments = commitments
        self._holdings = holdings
        self._hold_s = hold_s
        self._linger_s = linger_s
        self._clock = clock
        self._free = threading.Semaphore(_MOST_AT_ONCE)

    def service(self) -> Service:
        """What the listener registers."""
        return Service(
            sop_classes=(PUSH_MODEL,),
            handlers=(
                (evt.EVT_N_ACTION, self._requested),
                (evt.EVT_N_EVENT_REPORT, lambda event: (take_report(self._commitments, event), None)),
            ),
        )

    def _requested(self, event: evt.Event) -> tuple[int, Dataset | None]:
        if str(event.request.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
            return _NO_SUCH_INSTANCE, None
        if event.action_type != REQUEST_ACTION:
            return _NO_SUCH_ACTION, None
        calling_ae = str(event.assoc.requestor.ae_title).strip()
        try:
            transaction_uid, references = read_request(event.action_information)
            row = self._requests.keep(transaction_uid, calling_ae, references, hold_s=self._hold_s)
        except (CommitmentDataInvalid, Conflict) as error:
            _log.warning("a commitment request from %r was refused: %s", calling_ae, error)
            return _INVALID_ARGUMENT, None
        except StorageError as error:
            _log.error("a commitment request from %r could not be kept: %s", calling_ae, error.code)
            return PROCESSING_FAILURE, None
        if self._free.acquire(blocking=False):
            threading.Thread(
                target=self._report_here, args=(event.assoc, row), name="commitment-report", daemon=True
            ).start()
        return _SUCCESS, None

    def _report_here(self, association: Any, row: CommitmentRequestRow) -> None:
        try:
            if self._waits(association, row) and self._told(association, row):
                self._requests.answered(row.id)
            else:
                self._requests.put_off(row.id, self._clock(), "the peer did not wait on its association")
        except StorageError as error:
            _log.error("a commitment report could not be made: %s", error.code)
        finally:
            self._free.release()

    def _told(self, association: Any, row: CommitmentRequestRow) -> bool:
        status = send_report(association, make_report(self._holdings, row), timeout_s=self._hold_s)
        return status == _SUCCESS

    def _waits(self, association: Any, row: CommitmentRequestRow) -> bool:
        """True where the peer stays on its association until every instance it names has its row."""
        begun = time.monotonic()
        while association.is_established and time.monotonic() - begun < self._hold_s / 2:
            time.sleep(_LOOK_AGAIN_S)
            if time.monotonic() - begun >= self._linger_s and self._holdings.all_known(row.instances):
                return bool(association.is_established)
        return False


def make_report(holdings: Holdings, row: CommitmentRequestRow) -> CommitmentReport:
    """What of a request is kept here now: a row, and a file that has the hash it had when it was received.

    Raises:
        StorageError: the database could not be asked.
    """
    found = holdings.of(row.instances)
    return CommitmentReport(
        transaction_uid=row.transaction_uid,
        committed=tuple((one.sop_class_uid, one.sop_instance_uid) for one in found if one.held is Held.KEPT),
        failed=tuple(
            ((one.sop_class_uid, one.sop_instance_uid), _REASON_OF[one.held])
            for one in found
            if one.held is not Held.KEPT
        ),
    )
