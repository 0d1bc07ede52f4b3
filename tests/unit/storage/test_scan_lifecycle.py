from __future__ import annotations

import pytest

from storage.errors import ImpossibleTransition
from storage.lifecycle import END_STATES, OPEN_STATES, RUNNING_STATES, TRANSITIONS, next_state, targets
from storage.lifecycle import ScanEvent as E
from storage.lifecycle import ScanState as S

STRAIGHT_ON = [
    (S.RECEIVED, E.ASSEMBLE, S.ASSEMBLING),
    (S.ASSEMBLING, E.COMPLETE, S.READY),
    (S.READY, E.START, S.ANALYSING),
    (S.ANALYSING, E.ANALYSED, S.REPORTING),
    (S.REPORTING, E.REPORTED, S.DELIVERING),
    (S.DELIVERING, E.DELIVERED, S.DELIVERED),
    (S.DELIVERED, E.AMEND, S.ASSEMBLING),
    (S.REPORTING, E.REVIEW, S.AWAITING_REVIEW),
    (S.AWAITING_REVIEW, E.APPROVE, S.DELIVERING),
    (S.DELIVERING, E.REVIEW, S.AWAITING_REVIEW),
    (S.AWAITING_REVIEW, E.AMEND, S.ASSEMBLING),
    (S.READY, E.UNCHANGED, S.DELIVERING),
    (S.FAILED, E.RETRY, S.READY),
]


@pytest.mark.parametrize(("state", "event", "after"), STRAIGHT_ON)
def test_the_way_of_a_scan(state: S, event: E, after: S) -> None:
    assert next_state(state, event) is after


@pytest.mark.parametrize("state", S)
def test_every_pair_outside_the_table_is_refused_by_name(state: S) -> None:
    for event in E:
        if (state, event) not in TRANSITIONS:
            with pytest.raises(ImpossibleTransition, match=f"'{state}': '{event}'") as refused:
                next_state(state, event)
            assert (refused.value.state, refused.value.event) == (state, event)
            assert refused.value.transient is False


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) | {S.RECEIVED} == set(S)
    assert {state for state, _ in TRANSITIONS} == set(S)


def test_every_state_but_the_ends_can_fail_and_an_end_can_be_tried_again() -> None:
    assert all((state, E.FAIL) in TRANSITIONS for state in set(S) - END_STATES)
    assert all(next_state(state, E.RETRY) is S.READY and (state, E.AMEND) in TRANSITIONS for state in END_STATES)


def test_each_state_is_open_ready_awaiting_review_running_or_an_end() -> None:
    assert OPEN_STATES | {S.READY, S.AWAITING_REVIEW} | RUNNING_STATES | END_STATES == set(S)
    assert len(OPEN_STATES) + 2 + len(RUNNING_STATES) + len(END_STATES) == len(S)


def test_targets_lists_where_an_event_leads() -> None:
    assert targets(E.ANALYSED) == {S.REPORTING}
    assert targets(E.AMEND) == {S.ASSEMBLING}
