"""Storage commitment as a user: destinations are asked whether they keep for good what they took."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydicom.uid import generate_uid
from pynetdicom import evt

from dicom_node.commitment import exchange
from dicom_node.commitment.data import PUSH_MODEL, CommitmentReport
from dicom_node.commitment.reports import take_report
from dicom_node.outbound.association import (
    HostUnknown,
    all_contexts_refused,
    association,
    why_class_refused,
    why_not_established,
)
from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.sending import Destination
from storage.clock import Clock, utc_now
from storage.commitments import CommitmentRepository, CommitmentRow

_log = logging.getLogger(__name__)

_SUCCESS = 0x0000
#: Statuses of N-ACTION that pass with time (PS3.7 annex C); every other failure is the peer's last word.
_PASSING = frozenset({0x0110, 0x0210, 0x0213})


@dataclass(frozen=True, kw_only=True)
class CommitmentPolicy:
    """wait_s: how long the report is awaited on the association that asked. ask_again_s: unanswered, asked anew.

    give_up_s: after that an object is shown as not confirmed. Nothing ever waits for a report.

    Raises:
        ValueError: a negative wait, or another time that is not positive.
    """

    wait_s: float = 5.0
    ask_again_s: float = 6 * 3600.0
    give_up_s: float = 24 * 3600.0

    def __post_init__(self) -> None:
        if self.wait_s < 0 or min(self.ask_again_s, self.give_up_s) <= 0:
            raise ValueError("the times of storage commitment must be positive")


class CommitmentAsker:
    """Asks the destinations that are configured for it. Safe in several workers: rows are leased."""

    def __init__(
        self,
        commitments: CommitmentRepository,
        destinations: Sequence[Destination],
        our_ae_title: str,
        *,
        policy: CommitmentPolicy | None = None,
        backoff: BackoffPolicy | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._commitments = commitments
        self._destinations = [each for each in destinations if each.commitment == "request"]
        self._our_ae_title = our_ae_title
        self._policy = policy or CommitmentPolicy()
        self._backoff = backoff or BackoffPolicy(first_retry_s=60.0)
        self._clock = clock

    def ask_due(self) -> int:
        """Ask every destination about what it has not been asked, or not answered; how many objects. Ends old ones."""
        late = self._commitments.expire(timedelta(seconds=self._policy.give_up_s))
        if late:
            _log.warning("storage commitment of %d objects was not confirmed in time", late)
        return sum(self.ask(destination) for destination in self._destinations)

    def ask(self, destination: Destination) -> int:
        """One request to one destination about what is due; how many objects it was about."""
        # Random, not derived: a report is believed by its transaction, so nobody else should be able to name it.
        transaction_uid = str(generate_uid())
        rows = self._commitments.begin(destination.name, transaction_uid)
        if rows:
            try:
                self._request(destination, transaction_uid, rows)
            except HostUnknown as error:
                self._put_off(transaction_uid, rows, str(error))
        return len(rows)

    def _request(self, destination: Destination, transaction_uid: str, rows: Sequence[CommitmentRow]) -> None:
        reported = threading.Event()

        handlers = [
            (evt.EVT_N_EVENT_REPORT, lambda event: (take_report(self._commitments, event), None)),
            exchange.when_answered(reported),
        ]
        with association(
            destination, self._our_ae_title, [(PUSH_MODEL, None)], handlers=handlers, peer_may_ask=True
        ) as peer:
            if not peer.is_established:
                if all_contexts_refused(peer):
                    self._commitments.give_up(transaction_uid, why_class_refused(peer, PUSH_MODEL))
                else:
                    self._put_off(transaction_uid, rows, f"no association: {why_not_established(peer)}")
                return
            references = [(row.sop_class_uid, row.sop_instance_uid) for row in rows]
            status = exchange.send_request(peer, transaction_uid, references, timeout_s=destination.timeout_s)
            if status == _SUCCESS:
                again_at = self._clock() + timedelta(seconds=self._policy.ask_again_s)
                self._commitments.asked(transaction_uid, again_at)
                reported.wait(self._policy.wait_s)
            elif status is None or status in _PASSING:
                shown = "no answer to the request" if status is None else f"request status 0x{status:04X}"
                self._put_off(transaction_uid, rows, shown)
            else:
                self._commitments.give_up(transaction_uid, f"the peer refuses the request, status 0x{status:04X}")

    def _put_off(self, transaction_uid: str, rows: Sequence[CommitmentRow], reason: str) -> None:
        wait_s = self._backoff.wait_s(max(row.attempts for row in rows), rows[0].destination)
        self._commitments.put_off(transaction_uid, self._clock() + timedelta(seconds=wait_s), reason)
        _log.warning("storage commitment not asked of %s: %s", rows[0].destination, reason)


def send_report(destination: Destination, our_ae_title: str, report: CommitmentReport) -> str:
    """Report to a peer, on an association of our own, on what it asked us to keep; "" where it took the report.

    Returns:
        Else one line on why it did not.
    """
    try:
        with association(
            destination, our_ae_title, [(PUSH_MODEL, None)], acting_as_scp=[PUSH_MODEL], peer_may_ask=True
        ) as peer:
            if not peer.is_established:
                return f"no association: {why_not_established(peer)}"
            status = exchange.send_report(peer, report, timeout_s=destination.timeout_s)
    except HostUnknown as error:
        return str(error)
    if status is None:
        return "no answer to the report"
    return "" if status == _SUCCESS else f"report status 0x{status:04X}"
