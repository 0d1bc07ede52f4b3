"""When a destination that refuses is left alone, and when it is tried again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from dicom_node.outbound.sending import SendOutcome, Verdict
from storage.circuits import CircuitRepository, CircuitRow
from storage.clock import Clock, utc_now

_log = logging.getLogger(__name__)


class Permission(StrEnum):
    """What may be sent now: everything due, one object as a trial, or nothing."""

    ALL = "all"
    TRIAL = "trial"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class BreakerPolicy:
    """refusals: so many in a row open the circuit. first_trial_s: until the first trial; the waits double from there.

    Raises:
        ValueError: a number that is not positive.
    """

    refusals: int = 5
    first_trial_s: float = 300.0
    longest_trial_s: float = 6 * 3600.0

    def __post_init__(self) -> None:
        if self.refusals < 1 or min(self.first_trial_s, self.longest_trial_s) <= 0:
            raise ValueError("a breaker's count and waits must be positive")

    def next_trial(self, circuit: CircuitRow, now: datetime) -> datetime:
        """When an open circuit is tried after `now`: the wait grows to how long it has been open."""
        since = (now - (circuit.opened_at or now)).total_seconds()
        return now + timedelta(seconds=min(self.longest_trial_s, max(self.first_trial_s, since)))

    def after(self, circuit: CircuitRow, outcomes: Sequence[SendOutcome], now: datetime) -> CircuitRow:
        """The circuit after one round of sending. What only failed to get through says nothing either way."""
        if any(outcome.verdict is Verdict.SENT for outcome in outcomes):
            return CircuitRow(destination=circuit.destination)
        refused = [outcome for outcome in outcomes if outcome.verdict is Verdict.REFUSED]
        away = [outcome for outcome in outcomes if outcome.turned_away]
        if not refused and not away:
            return circuit
        # An association that was turned away is one refusal, however many objects it would have carried.
        count = circuit.refusals + (len(refused) or 1)
        counted = replace(circuit, refusals=count, last_error=(refused or away)[-1].text)
        if not counted.open and count >= self.refusals:
            counted = replace(counted, opened_at=now)
        return replace(counted, trial_at=self.next_trial(counted, now)) if counted.open else counted


class Breaker:
    """Keeps each destination's circuit in the rows, so that restarts and other workers know it."""

    def __init__(self, circuits: CircuitRepository, policy: BreakerPolicy, clock: Clock = utc_now) -> None:
        self._circuits = circuits
        self._clock = clock
        self.policy = policy

    def permission(self, destination: str) -> Permission:
        """What may be sent to a destination now. A trial is given to one caller."""
        circuit = self._circuits.get(destination)
        if not circuit.open:
            return Permission.ALL
        now = self._clock()
        taken = self._circuits.take_trial(destination, now, self.policy.next_trial(circuit, now))
        return Permission.TRIAL if taken else Permission.NONE

    def observe(self, destination: str, outcomes: Sequence[SendOutcome]) -> None:
        """Take note of what came of one round of sending."""
        before = self._circuits.get(destination)
        after = self.policy.after(before, outcomes, self._clock())
        if after == before:
            return
        self._circuits.put(after)
        if after.open and not before.open:
            _log.error(
                "destination %s refused %d times in a row and is left alone until %s: %s",
                destination, after.refusals, after.trial_at, after.last_error,
            )  # fmt: skip
        elif before.open and not after.open:
            _log.warning("destination %s takes objects again", destination)
