"""Sending what is owed: rows out of the outbox, files to the destinations, outcomes back into the rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.breaker import Breaker, Permission
from dicom_node.outbound.sending import OutgoingObject, ResultSender, SendOutcome, Verdict
from storage.clock import Clock, utc_now
from storage.deliveries import DeliveryRepository
from storage.delivery_rows import DeliveryRow

_log = logging.getLogger(__name__)

#: Objects on one connection where no breaker asks for fewer, and in one round to one destination.
_A_ROUND = 100


@dataclass(frozen=True, kw_only=True)
class DeliveryTally:
    """What one round came to: rows sent, put off to a later attempt, failed for good, replaced by a fall-back."""

    sent: int = 0
    put_off: int = 0
    failed: int = 0
    replaced: int = 0

    def __add__(self, other: DeliveryTally) -> DeliveryTally:
        """The sum of two rounds."""
        return DeliveryTally(
            sent=self.sent + other.sent,
            put_off=self.put_off + other.put_off,
            failed=self.failed + other.failed,
            replaced=self.replaced + other.replaced,
        )


class Deliverer:
    """Sends due deliveries.

    senders: by destination name; rows of other names stay owed until their destination is configured again.
    resolve: from a row's relative path to the file. breaker: leaves destinations alone that refuse everything.
    committing: destinations that are asked for storage commitment of what they took. fallback: by destination, the
    kinds it is owed in place of an object whose SOP class it refuses. Safe to call from several threads or processes: a
    row is leased to one caller, and a second send of the same bytes under the same UID would harm nothing.
    """

    def __init__(
        self,
        deliveries: DeliveryRepository,
        senders: Mapping[str, ResultSender],
        resolve: Callable[[str], Path],
        *,
        policy: BackoffPolicy | None = None,
        breaker: Breaker | None = None,
        committing: Collection[str] = (),
        fallback: Mapping[str, Sequence[str]] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._breaker = breaker
        self._committing = frozenset(committing)
        self._fallback = {name: tuple(kinds) for name, kinds in (fallback or {}).items() if kinds}
        self._deliveries = deliveries
        self._senders = dict(senders)
        self._resolve = resolve
        self._policy = policy or BackoffPolicy()
        self._clock = clock

    def deliver_due(self) -> DeliveryTally:
        """One round over all destinations at once, so that one that hangs holds up nobody else's results."""
        if not self._senders:
            return DeliveryTally()
        with ThreadPoolExecutor(max_workers=len(self._senders), thread_name_prefix="delivery") as pool:
            return sum(pool.map(self.deliver_to, self._senders), start=DeliveryTally())

    def deliver_to(self, destination: str) -> DeliveryTally:
        """Send what is due to one destination, and write down what came of it."""
        tally, taken = DeliveryTally(), 0
        # Looked at first, so that a circuit's one trial is not taken where there is nothing to try it with.
        while taken < _A_ROUND and self._deliveries.is_due(destination):
            permission = Permission.ALL if self._breaker is None else self._breaker.permission(destination)
            if permission is Permission.NONE:
                return tally + self._give_up_old(destination)
            # No more on one connection than the refusals that open the circuit: a peer that has begun to refuse
            # everything must not turn a whole outbox into dead letters.
            at_once = _A_ROUND if self._breaker is None else self._breaker.policy.refusals
            limit = 1 if permission is Permission.TRIAL else at_once
            rows = self._deliveries.due(self._clock(), destination=destination, limit=limit)
            round_tally = self._deliver(destination, rows)
            tally, taken = tally + round_tally, taken + len(rows)
            if round_tally.replaced:
                continue  # what goes instead is due now
            if len(rows) < limit or not round_tally.sent:
                break
        return tally

    def _deliver(self, destination: str, rows: Sequence[DeliveryRow]) -> DeliveryTally:
        """One connection's worth."""
        tally = DeliveryTally()
        ready: list[tuple[DeliveryRow, OutgoingObject]] = []
        for row in rows:
            outgoing = self._outgoing(row)
            if isinstance(outgoing, OutgoingObject):
                ready.append((row, outgoing))
            else:
                tally += self._settle(row, outgoing)
        if ready:
            outcomes = self._send(destination, [outgoing for _, outgoing in ready])
            for (row, _), outcome in zip(ready, outcomes, strict=True):
                tally += self._settle(row, outcome)
            if self._breaker is not None:
                # What has a substitute says nothing of how the destination takes the rest.
                counted = [o for o in outcomes if not (o.class_refused and destination in self._fallback)]
                self._breaker.observe(destination, counted)
        return tally

    def _give_up_old(self, destination: str) -> DeliveryTally:
        """What grew too old while its destination was left alone is failed, as it would be while it is tried."""
        before = self._clock() - timedelta(days=self._policy.give_up_after_days)
        reason = "given up: the destination refuses everything it is sent"
        return DeliveryTally(failed=self._deliveries.give_up(destination, before, reason))

    def _send(self, destination: str, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        try:
            return self._senders[destination].send(objects)
        except Exception as error:
            # A sender's fault must not strand the leased rows, nor stop the other destinations' threads.
            _log.exception("destination %s: the sender failed", destination)
            text = f"the sender failed: {type(error).__name__}"
            return tuple(
                SendOutcome(sop_instance_uid=item.sop_instance_uid, verdict=Verdict.RETRY, text=text)
                for item in objects
            )

    def _outgoing(self, row: DeliveryRow) -> OutgoingObject | SendOutcome:
        """The object to send, or the verdict where its file is not what was made."""
        try:
            path = self._resolve(row.path)
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != row.sha256:
                    return _verdict(row, Verdict.REFUSED, "the result file was changed after it was made")
            syntax = str(read_file_meta_info(path).TransferSyntaxUID)
        except FileNotFoundError:
            return _verdict(row, Verdict.REFUSED, "the result file is gone; run the analysis again")
        except (InvalidDicomError, AttributeError):
            return _verdict(row, Verdict.REFUSED, "the result file is not a DICOM file")
        except OSError as error:
            return _verdict(row, Verdict.RETRY, f"the result file cannot be read: {error.strerror}")
        return OutgoingObject(
            path=path,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            transfer_syntax_uid=syntax,
        )

    def _settle(self, row: DeliveryRow, outcome: SendOutcome) -> DeliveryTally:
        told = f"{row.kind} {row.sop_instance_uid} to {row.destination}: {outcome.text}"
        if outcome.verdict is Verdict.SENT:
            self._deliveries.mark_sent(row.id, commit=row.destination in self._committing)
            # A status other than success (coerced attributes) is worth a line in the log, not a failure.
            _log.log(logging.WARNING if outcome.status else logging.INFO, "sent %s", told)
            return DeliveryTally(sent=1)
        next_at = None
        if outcome.verdict is Verdict.RETRY:
            next_at = self._policy.next_attempt_at(
                attempts=row.attempts,
                key=f"{row.destination}:{row.sop_instance_uid}",
                owed_since=row.created_at,
                now=self._clock(),
            )
        if outcome.class_refused and self._replaced(row, outcome):
            return DeliveryTally(replaced=1)
        self._deliveries.mark_failed(row.id, next_at, outcome.text)
        if next_at is None:
            _log.error("gave up sending %s", told)
            return DeliveryTally(failed=1)
        _log.warning("not sent %s; attempt %d follows at %s", told, row.attempts + 1, next_at.isoformat())
        return DeliveryTally(put_off=1)

    def _replaced(self, row: DeliveryRow, outcome: SendOutcome) -> bool:
        """Owe the destination its fall-back kinds of the same run; False where it has none, or the run made none."""
        kinds = self._fallback.get(row.destination, ())
        if row.kind in kinds or not self._deliveries.replace_by(row.id, kinds, outcome.text):
            return False
        told = f"{row.kind} {row.sop_instance_uid} to {row.destination}: {outcome.text}"
        _log.warning("not sent %s; %s instead", told, ", ".join(kinds))
        return True


def _verdict(row: DeliveryRow, verdict: Verdict, text: str) -> SendOutcome:
    return SendOutcome(sop_instance_uid=row.sop_instance_uid, verdict=verdict, text=text)
