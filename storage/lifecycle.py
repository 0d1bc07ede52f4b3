"""The states a scan goes through and the table of what may happen in each. Data and one pure function.

Only `storage.transitions.move` applies the answer to a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from storage.errors import ImpossibleTransition


class ScanState(StrEnum):
    """Where a scan is. `awaiting_review` is used where results need a person's release before they leave."""

    RECEIVED = "received"
    ASSEMBLING = "assembling"
    READY = "ready"
    ANALYSING = "analysing"
    REPORTING = "reporting"
    AWAITING_REVIEW = "awaiting_review"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    INELIGIBLE = "ineligible"
    FAILED = "failed"


class ScanEvent(StrEnum):
    """What can happen to a scan."""

    ASSEMBLE = "assemble"
    """The completeness rule has looked at it and waits for more."""
    COMPLETE = "complete"
    """All that is expected is here, a timer ran out, or a person said 'process now'."""
    AMEND = "amend"
    """A new instance came for a scan that was ready or at an end."""
    START = "start"
    """A worker froze the inputs and took the scan."""
    UNCHANGED = "unchanged"
    """The same inputs and models already gave a result: send that one."""
    ANALYSED = "analysed"
    REPORTED = "reported"
    REVIEW = "review"
    """The results may leave only once a review accepts them."""
    APPROVE = "approve"
    DELIVERED = "delivered"
    REJECT = "reject"
    """Nothing here this node can read."""
    FAIL = "fail"
    RETRY = "retry"
    """A person, or the back-off policy, wants another run."""
    RESEND = "resend"
    """A person wants what a destination refused sent once more, as it is."""


_S = ScanState
_E = ScanEvent

#: (state, event) -> next state. A pair that is not here is impossible.
TRANSITIONS: Mapping[tuple[ScanState, ScanEvent], ScanState] = {
    (_S.RECEIVED, _E.ASSEMBLE): _S.ASSEMBLING,
    (_S.RECEIVED, _E.COMPLETE): _S.READY,
    (_S.RECEIVED, _E.REJECT): _S.INELIGIBLE,
    (_S.RECEIVED, _E.FAIL): _S.FAILED,
    (_S.ASSEMBLING, _E.COMPLETE): _S.READY,
    (_S.ASSEMBLING, _E.REJECT): _S.INELIGIBLE,
    (_S.ASSEMBLING, _E.FAIL): _S.FAILED,
    (_S.READY, _E.AMEND): _S.ASSEMBLING,
    (_S.READY, _E.START): _S.ANALYSING,
    (_S.READY, _E.UNCHANGED): _S.DELIVERING,
    (_S.READY, _E.REJECT): _S.INELIGIBLE,
    (_S.READY, _E.FAIL): _S.FAILED,
    (_S.ANALYSING, _E.ANALYSED): _S.REPORTING,
    (_S.ANALYSING, _E.REJECT): _S.INELIGIBLE,
    (_S.ANALYSING, _E.FAIL): _S.FAILED,
    (_S.REPORTING, _E.REPORTED): _S.DELIVERING,
    (_S.REPORTING, _E.REVIEW): _S.AWAITING_REVIEW,
    (_S.REPORTING, _E.FAIL): _S.FAILED,
    (_S.AWAITING_REVIEW, _E.APPROVE): _S.DELIVERING,
    (_S.AWAITING_REVIEW, _E.RETRY): _S.READY,
    (_S.AWAITING_REVIEW, _E.AMEND): _S.ASSEMBLING,
    (_S.AWAITING_REVIEW, _E.FAIL): _S.FAILED,
    (_S.DELIVERING, _E.DELIVERED): _S.DELIVERED,
    (_S.DELIVERING, _E.REVIEW): _S.AWAITING_REVIEW,
    (_S.DELIVERING, _E.FAIL): _S.FAILED,
    (_S.DELIVERED, _E.AMEND): _S.ASSEMBLING,
    (_S.DELIVERED, _E.RETRY): _S.READY,
    (_S.INELIGIBLE, _E.AMEND): _S.ASSEMBLING,
    (_S.INELIGIBLE, _E.RETRY): _S.READY,
    (_S.FAILED, _E.AMEND): _S.ASSEMBLING,
    (_S.FAILED, _E.RETRY): _S.READY,
    (_S.FAILED, _E.RESEND): _S.DELIVERING,
}

#: States in which the completeness rule still watches the scan.
OPEN_STATES: frozenset[ScanState] = frozenset({_S.RECEIVED, _S.ASSEMBLING})

#: States in which a worker has frozen inputs: a late instance waits for the end of the run.
RUNNING_STATES: frozenset[ScanState] = frozenset({_S.ANALYSING, _S.REPORTING, _S.DELIVERING})

#: States in which nothing happens any more unless something new comes.
END_STATES: frozenset[ScanState] = frozenset({_S.DELIVERED, _S.INELIGIBLE, _S.FAILED})


def next_state(state: ScanState, event: ScanEvent) -> ScanState:
    """The state `event` leads to from `state`.

    Raises:
        ImpossibleTransition: the event has no meaning in that state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(state.value, event.value) from None


def targets(event: ScanEvent) -> frozenset[ScanState]:
    """Every state `event` can lead to. A step that is run twice uses it to see that its event was applied before."""
    return frozenset(to for (_, name), to in TRANSITIONS.items() if name is event)
