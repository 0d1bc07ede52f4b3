"""Our reports to peers that asked us to commit ourselves, sent by the worker where the listener could not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from dicom_node.commitment.data import NO_SUCH_INSTANCE
from dicom_node.inbound.commitment import make_report
from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.commitment import send_report
from dicom_node.outbound.sending import Destination
from storage.clock import Clock
from storage.commitment_requests import CommitmentRequestRepository, CommitmentRequestRow
from storage.holdings import Holdings

log = structlog.get_logger("commitment")

#: An instance that was just acknowledged may reach its row a moment later than the peer's question.
_SETTLE = timedelta(seconds=30)
_LOOK_AGAIN = timedelta(seconds=5)


class CommitmentAnswers:
    """Sends what is owed. report_to: AE title of whoever asks to where it listens."""

    def __init__(
        self,
        requests: CommitmentRequestRepository,
        holdings: Holdings,
        report_to: Mapping[str, Destination],
        our_ae_title: str,
        *,
        policy: BackoffPolicy,
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._holdings = holdings
        self._report_to = dict(report_to)
        self._our_ae_title = our_ae_title
        self._policy = policy
        self._clock = clock

    def answer_due(self) -> int:
        """Report to every peer whose answer is due; how many took theirs."""
        return sum(self._answer(row) for row in self._requests.due())

    def _answer(self, row: CommitmentRequestRow) -> bool:
        now = self._clock()
        report = make_report(self._holdings, row)
        if any(reason == NO_SUCH_INSTANCE for _, reason in report.failed) and now - row.received_at < _SETTLE:
            self._requests.put_off(row.id, now + _LOOK_AGAIN, "waiting for what may still be on its way")
            return False
        peer = self._report_to.get(row.calling_ae)
        if peer is None:
            why = f"nobody knows where '{row.calling_ae}' listens: name it in commitment.report_to"
        else:
            why = send_report(peer, self._our_ae_title, report)
        if not why:
            self._requests.answered(row.id)
            log.info("commitment reported", peer=row.calling_ae, kept=len(report.committed), failed=len(report.failed))
            return True
        next_at = self._policy.next_attempt_at(
            attempts=row.attempts, key=row.transaction_uid, owed_since=row.received_at, now=now
        )
        self._requests.put_off(row.id, next_at, why)
        log.warning("commitment not reported", peer=row.calling_ae, why=why, again=str(next_at))
        return False
